"""Parts of Trinity whose libraries a node does not need: each is an extra of the package, installed by who wants it.

Rules: a library of an extra is imported where it is used, and nowhere else; where it is missing, the error names the
extra and how to get it. pyproject.toml has the same extras with their libraries.
"""

from trinity.errors import MissingExtraError

# The extra that brings a library, by the name that is imported.
EXTRA_OF = {
    "pyarrow": "parquet",
    "mcp": "mcp",
    "matplotlib": "bench",
    "hdrh": "bench",
    "ccxt": "bench",
    "obstore": "s3",
}


def missing_extra(error: ModuleNotFoundError) -> MissingExtraError | ModuleNotFoundError:
    """What is to be raised instead; the same error where the module is of no extra, which is a bug of ours."""
    module = (error.name or "").partition(".")[0]
    return MissingExtraError(module, EXTRA_OF[module]) if module in EXTRA_OF else error
