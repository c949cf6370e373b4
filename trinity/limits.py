"""Every bound of the node, with its reason. A section a room; relations are asserted at the end."""

# --- catalog -----------------------------------------------------------------------------------------------

# The answer table takes some 17 KB an asset; 256 assets are 4.4 MB, which still fits a level-2 cache or two.
ASSETS_MAX = 256
# Longest ticker seen on the six exchanges is 9 letters (CORECHAIN); a fixed field of 16 bytes holds it.
ASSET_NAME_BYTES_MAX = 16

# --- feeds -------------------------------------------------------------------------------------------------

# Largest frame accepted: a 64 KB subscription list is the largest of the six; REST bodies may be larger.
FRAME_BYTES_MAX = 256 * 1024
# Coinbase's list of all 920 products is 1.1 MB; four times that is a fault, not an answer.
REST_BODY_BYTES_MAX = 4 * 1024 * 1024
# A quote from the future by more than this is refused (rules of the consensus, step 2).
EXCHANGE_CLOCK_ALLOWANCE_NS = 5 * 1_000_000_000
# First retry at once, then full jitter over 0.5 s * 2**n, capped (AWS architecture blog's "full jitter").
RECONNECT_BASE_SECONDS = 0.5
RECONNECT_CAP_SECONDS = 30.0
# The back-off starts anew only after the stream delivered fresh quotes for this long.
RECONNECT_RESET_SECONDS = 60.0

# --- request workers ---------------------------------------------------------------------------------------

# --- supervisor --------------------------------------------------------------------------------------------

# --- relations ---------------------------------------------------------------------------------------------

assert RECONNECT_BASE_SECONDS < RECONNECT_CAP_SECONDS <= RECONNECT_RESET_SECONDS
