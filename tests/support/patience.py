"""How long tests wait for what must come: longer than it takes, because a shared machine stands still for seconds.

A bound beside a wait is what an idle machine of two cores never needs. What comes late there is still right: the tests
claim that it comes. How soon is measured by the benchmarks.
"""

# The longest stand-still seen with two test processes on two shared cores was 8 s.
PATIENCE = 4.0
