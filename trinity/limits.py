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

# 248 counters a process: the largest user, the consensus, needs 72. With the 8 words before them 2 KB a process.
COUNTER_WORDS = 248
# A data loop beats every 250 ms at the latest: after 20 missed beats it is stuck, not slow.
HEARTBEAT_AGE_MAX_NS = 5 * 1_000_000_000
# From the fork to the first beat: 0.1 s to 1 s measured; far more only where cores are missing or the disk stands still.
BOOT_MAX_NS = 30 * 1_000_000_000
# Wait before a restart by the number of short lives in a row: at once, then longer, but always back within 2 s.
RESTART_DELAYS_NS = (0, 200_000_000, 500_000_000, 1_000_000_000)
# One more short life than there are delays is a crash loop. Five in a row of under 6 s are five deaths within 30 s.
CRASH_LOOP_DEATHS = 5
SHORT_LIFE_NS = 6 * 1_000_000_000
# Turns of the supervisor: heartbeats are looked at this often, signals and deaths wake it at once.
SUPERVISOR_TURN_MS = 100
# A supervisor that was itself not run for this long (a paused machine) must not take all others for stuck.
SUPERVISOR_GAP_MAX_NS = 1_000_000_000
# SIGTERM: everything is down in under 5 s. Each stage may take this long before the next is told to stop as well ...
DRAIN_STAGE_MAX_NS = 1_500_000_000
# ... and whoever is left after this is killed.
DRAIN_MAX_NS = 4_000_000_000
# What a dying process may leave as its cause of death.
LAST_WORDS_BYTES_MAX = 1024
# Sockets, event descriptors and log files of a request worker at its connection limit, with room.
OPEN_FILES_WANTED = 65_536

# --- relations ---------------------------------------------------------------------------------------------

assert RECONNECT_BASE_SECONDS < RECONNECT_CAP_SECONDS <= RECONNECT_RESET_SECONDS
assert CRASH_LOOP_DEATHS == len(RESTART_DELAYS_NS) + 1
assert SUPERVISOR_TURN_MS * 1_000_000 < SUPERVISOR_GAP_MAX_NS < HEARTBEAT_AGE_MAX_NS < BOOT_MAX_NS
assert DRAIN_STAGE_MAX_NS < DRAIN_MAX_NS < 5 * 1_000_000_000
