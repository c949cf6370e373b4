"""Every bound of the node, with its reason. A section a room; relations are asserted at the end."""

# --- catalog -----------------------------------------------------------------------------------------------

# The answer table takes some 17 KB an asset; 256 assets are 4.4 MB, which still fits a level-2 cache or two.
ASSETS_MAX = 256
# Rows that the tables have beyond the catalog's: of assets that are answered although no catalog names them, while
# somebody asks (memory/asset_table.py). Every process maps the tables once, before the first fork, and no row can be
# made later. The spread of what is asked for is Zipf's: 400 assets have nearly all of it. Each costs 17 KB of shared
# memory on six exchanges, all 512 some 9 MB, and no time: rows that are not in use are never read.
SPARE_ASSETS = 512
# Other names of them, most of them former ones: a coin is renamed once in its life, if ever.
ALIASES_MAX = 64
# Longest ticker seen on the six exchanges is 9 letters (CORECHAIN); a fixed field of 16 bytes holds it.
ASSET_NAME_BYTES_MAX = 16

# --- feeds -------------------------------------------------------------------------------------------------

# Largest frame accepted: a 64 KB subscription list is the largest of the six; REST bodies may be larger.
FRAME_BYTES_MAX = 256 * 1024
# Coinbase's list of all 920 products is 1.1 MB; four times that is a fault, not an answer.
REST_BODY_BYTES_MAX = 4 * 1024 * 1024
# A quote from the future by more than this is refused (rules of the consensus, step 2).
EXCHANGE_CLOCK_ALLOWANCE_NS = 5 * 1_000_000_000
# First retry at once, then the peer's gap and full jitter over 0.5 s * 2**n, together capped (AWS architecture blog).
RECONNECT_BASE_SECONDS = 0.5
RECONNECT_CAP_SECONDS = 30.0
# The back-off starts anew only after the stream delivered fresh quotes for this long.
RECONNECT_RESET_SECONDS = 60.0
# The feed's loop looks at all its rows, and beats, this often; the supervisor expects a beat each 250 ms.
FEED_CHECK_SECONDS = 0.2
# A TCP connect, TLS and an upgrade take under 1 s; a handshake that hangs must not block the retries.
HANDSHAKE_SECONDS = 10.0
# A name's next address is tried after this long beside the one that has not answered (RFC 8305, section 8: 250 ms).
NEXT_ADDRESS_SECONDS = 0.25
# What is kept of an exchange's page: enough to tell a region block from a maintenance, too little to fill a log.
FOREIGN_WORDS_MAX = 300
# The closing handshake is a courtesy; a drain must end within 1 s.
CLOSE_SECONDS = 0.4
# Frames that wait for the decoder on one connection before the socket is no longer read (back pressure, not memory):
# only those of before the subscription, and those in fragments, wait at all.
FRAMES_QUEUED_MAX = 64
# Replies to heartbeats that wait for a peer who does not read; one comes in 30 s.
REPLIES_WAITING_MAX = 64
# A successor that delivers has this long to serve every row before the old connection is closed.
OVERLAP_SECONDS = 5.0
# A replacement for the sake of single rows, while the others are well: at most one a minute, then ever more seldom.
ROW_REPLACE_SECONDS = 60.0
ROW_REPLACE_CAP_SECONDS = 3600.0
# A symbol that the exchange does not know is asked for again: it may be listed anew, or the answer was a fault.
ASK_AGAIN_SECONDS = 60.0
ASK_AGAIN_CAP_SECONDS = 4 * 3600.0
# An exchange acknowledges a subscription within a second; what it has not named by then is told to the operator.
ACKNOWLEDGE_SECONDS = 5.0
# A REST answer takes 30-50 ms; a dead server must not hold the only request in flight for longer than an age limit.
REST_TIMEOUT_SECONDS = 5.0
# A row is asked for again after this share of its age limit: two answers may be lost before it is stale.
REST_ASKS_PER_MAX_AGE = 5
# An exchange may ask us to stay away; for longer than this we try again anyway.
RETRY_AFTER_SECONDS_MAX = 300.0

# --- consensus ---------------------------------------------------------------------------------------------

# No rule of an asset says more basis points than the whole price has; with that, all products fit 128 bits.
BPS_MAX = 10_000
# Every asset is looked at again after this long although nothing changed: time alone makes sources stale. A turn
# waits at most the other value, so together no price outlives its sources by more than 250 ms.
CONSENSUS_REVIEW_NS = 150 * 1_000_000
CONSENSUS_WAIT_MS_MAX = 100
# Those who watch (candles, gauges, log, heartbeat) are told at most this often where nothing presses: telling takes
# half a millisecond, in which no quote is looked at.
CONSENSUS_TELL_NS = 100 * 1_000_000
# The end of an answer that is nearer than this is decided now, as it will be then: a price that loses one of several
# sources is not refused between the source's last moment and the next turn. A wait is whole ms and wakes up late.
CONSENSUS_AHEAD_NS = 5 * 1_000_000
# The stablecoins' indexes are measured again at most this often: it takes a millisecond, in which no quote is looked
# at, and a coin moves by less than a basis point in so short a time. Others convert by a quarter of a second.
COINS_GAP_NS = 100 * 1_000_000
# A source that was left out comes back after it lay within half the limit for this long; CF Benchmarks has the
# half, others wait 5 s to 5 min: venues of one market agree again within seconds, so the shortest is enough.
REENTRY_NS = 5 * 1_000_000_000
# A price that moved by more than this against the last one waits, unless all sources say so (Pyth Pro: ~10 %) ...
JUMP_PERCENT_MAX = 10
# ... but never longer than this: six times the age limit of a major asset, so no slow source can explain it.
JUMP_HOLD_NS = 60 * 1_000_000_000
# Stablecoin legs that are further apart than this do not agree. Liars who stay within it can tilt an index by as much,
# and a price that is backed only just by the other window as well: together they stay below 50 bps. The six exchanges'
# legs lie within 5 bps of each other.
LEG_WINDOW_BPS = 25
BACKED_WINDOW_BPS = 20
# An index that can no longer be measured is used for as long as a quote of a major asset, and no longer.
INDEX_HOLD_NS = 10 * 1_000_000_000
# A stablecoin this far from 1 for this long is worth a warning; further than the second, a page.
DEPEG_WARN_BPS = 50
DEPEG_WARN_NS = 60 * 1_000_000_000
DEPEG_PAGE_BPS = 200

# --- request workers ---------------------------------------------------------------------------------------

# The longest useful request line, 256 assets by name, is 2 KB; nginx allows 8 KB for all uses.
REQUEST_LINE_BYTES_MAX = 2 * 1024
# Request line and headers together; browsers behind proxies send 1 KB to 2 KB. Also what a connection may leave unread.
HEAD_BYTES_MAX = 8 * 1024
# A browser behind two proxies sends about 30 headers; Apache's default limit is 100.
HEADERS_MAX = 100
# Answers to one connection before the others get their turn; load generators pipeline 16 to 64.
PIPELINED_MAX = 64
# Open HTTP connections of one worker: twice the largest load level (4,096), 64 MB when all are stuck in half a head.
CONNECTIONS_MAX = 8 * 1024
# Of them from one address, an IPv6 /64 being one: half, so that no single one has the table, and a proxy that is not
# known as trusted still has room. Beyond either bound the longest idle connection gives way to a new one.
CONNECTIONS_OF_ADDRESS_SHARE = 0.5
# Descriptors of a worker that are no connections: listeners, epoll, log files, shared memory, with room.
OPEN_FILES_BESIDE = 128
# Connections whose reader is slower than its answers, of one worker: each keeps up to a whole turn's output.
STALLED_MAX = 256
# nginx's keep-alive time-out; longer than the 60 s of common load balancers, so that they close first.
IDLE_MAX_NS = 75 * 1_000_000_000
# From the first byte of a request's head to its last; a new connection has as long for its first request.
HEAD_MAX_NS = 10 * 1_000_000_000
# A client that takes no byte of its answers for this long is gone.
STALL_MAX_NS = 30 * 1_000_000_000
# After a refusal the rest of what the client sends is read and dropped, so that it can read the answer (RFC 9112, 9.6).
LINGER_MAX_NS = 2 * 1_000_000_000
# Draining: an idle connection may still bring a request that was on its way ...
DRAIN_IDLE_MAX_NS = 300_000_000
# ... and a slow reader gets this long in all; less than DRAIN_STAGE_MAX_NS.
DRAIN_WORKER_MAX_NS = 1_200_000_000
# Events fetched, and connections accepted, in one turn of the loop.
EVENTS_MAX = 256
ACCEPTS_MAX = 64
# Datagrams received, and sent, by one system call; more did not make it faster.
DATAGRAMS_MAX = 64

# Who was refused for want of time may ask again after this: a client that backs off does so in seconds.
OVERLOADED_RETRY_SECONDS = 1
# Refusing takes at most this share of the time that answering takes, while anything waits to be answered: the goodput
# of a worker is 95 % of what it can do, however much is asked.
REFUSING_SHARE = 0.05

# The largest useful datagram is a binary request for 64 assets with padding, 1,432 bytes; JSON may pad to 2 KB.
UDP_REQUEST_BYTES_MAX = 2048
# Assets in one datagram: as many as a binary reply holds within one Ethernet frame.
UDP_ASSETS_MAX = 64
# A JSON reply for 64 assets at full length (641 bytes each) is 41 KB; UDP itself carries 65,507 bytes.
UDP_REPLY_BYTES_MAX = 48 * 1024
# Ethernet's 1,500 bytes without the IPv4 and UDP headers: a binary reply is never fragmented.
UDP_PAYLOAD_BYTES_MAX = 1472
# A request id that is text; a UUID has 36.
UDP_ID_BYTES_MAX = 64
# An API key in a datagram; longer ones are refused.
API_KEY_BYTES_MAX = 128

# --- assets beyond the catalog -----------------------------------------------------------------------------

# A spare row that was taken from its asset: feeds look at the asset table once a second, and what they have on its way
# is written by then.
ASSET_REST_NS = 10 * 1_000_000_000
# Names that were refused lately, a minute each at 50 questions a second; 512 KB.
REFUSED_NAMES = 8_192
# The resolver beats with each turn of its loop, 4 times a second at least; without one, nobody waits for it.
RESOLVER_AWAY_NS = 2 * 1_000_000_000
# Names beyond the catalog that one caller, a key or an address, may have looked for: a person who looks around types
# one in a second, and a portfolio that is opened has 20; 5 a second are a tenth of what the exchanges are asked
# for all callers together.
NEW_NAMES_PER_SECOND = 5
NEW_NAMES_BURST = 20
# A request waits so long for a name to be found: two REST answers at their slowest usual, and less than the 3 s to 5 s
# that proxies and clients allow an answer.
MISS_MAX_NS = 2 * 1_000_000_000
# Told to come again, somebody finds what was looked for meanwhile.
MISS_RETRY_MS = 1_000
# Draining: what is parked gets this long; less than DRAIN_WORKER_MAX_NS, so that its answers are sent before the end.
DRAIN_PARKED_MAX_NS = 500_000_000
# Requests that one worker has parked: 50 new names a second for 2 s, five clients each. A datagram takes 2 KB.
PARKED_MAX = 512
# Of them of one caller: an eighth, so that who waits for much leaves room for seven others.
PARKED_OF_CALLER_MAX = 64
# Names that one process has asked for and the resolver has not looked at: more than are parked.
MISS_QUEUE_ENTRIES = 1_024

# --- the resolver ------------------------------------------------------------------------------------------

# Of all callers together: 50 misses a second are 400 assets in 8 s, and six exchanges publish no more than 20 single
# questions a second between them; what comes beside them in a burst is told to come again.
MISS_BUDGET_RATE = 50.0
MISS_BUDGET_BURST = 100
# A worker waits for 2 s; a flight ends before, however many exchanges hang.
FLIGHT_NS = 1_500_000_000
# When enough have answered to decide, but not more than half of all that list it agree, the others have this long: a
# slow exchange costs a quarter of a second, and is not asked at all once it has been silent for longer than
# ASK_SILENT_SECONDS.
FLIGHT_GRACE_NS = 250_000_000
# An exchange whose turn (its published gap) comes later than this is left out, where enough others can be asked and it
# has no question for many at once ...
TURN_WAIT_NS = 100_000_000
# ... and where they cannot, one that is due within this.
TURN_WAIT_MAX_NS = 1_000_000_000
# One question; answers take 30 to 50 ms, a list of all tickers some hundreds.
ASK_TIMEOUT_SECONDS = 1.2
ASK_SILENT_SECONDS = 0.4
# Where single questions would take longer than this, one for many is asked instead, if the exchange has it.
ASK_BATCH_SECONDS = 0.5
# A name that no exchange knows, and one that has no price for another reason.
UNKNOWN_ASSET_NS = 60 * 1_000_000_000
REFUSED_ASSET_NS = 5 * 1_000_000_000
# One that stands on fewer exchanges than a price needs: lists change once a day, and its exchanges' own rows end by
# their own age.
SCARCE_ASSET_NS = 20 * 1_000_000_000
# Nobody could be asked: as long as Retry-After says.
BUSY_ASSET_NS = 1_000_000_000
# An asset is hot from so many lookups in so long a time, and until nobody has asked for a minute.
HOT_LOOKUPS = 10
HOT_WINDOW_SECONDS = 10
COLD_SECONDS = 60
# As many on the live sockets: Crypto.com takes 400 subscriptions a connection, of which a catalog has 26. What is hot
# beyond is kept fresh over REST, all of it in one question where the exchange has one.
HOT_ASSETS_MAX = 256
# Rows of one feed: those of the catalog, and those that are hot.
FEED_ROWS_MAX = ASSETS_MAX + HOT_ASSETS_MAX
# A hot asset's answer is renewed this long before it ends, and a refusal of REFUSED_ASSET_NS this long.
REFRESH_AHEAD_NS = 10 * 1_000_000_000
REFUSED_AHEAD_NS = 2 * 1_000_000_000
# The consensus of what is hot looks at its sources this often, or as often as a quarter of a core allows: decisions of
# a millisecond each in slices of four, then a pause of three slices, in which misses are answered.
HOT_REVIEW_SECONDS = 0.5
HOT_SLICE_NS = 4_000_000
# What an exchange lists: asked once a day, and again this soon where that failed.
LISTING_SECONDS = 86_400
LISTING_AGAIN_SECONDS = 300
# What another node has said of an asset is good for this long: two lookups apart, and never half of an age limit.
PRICE_CACHE_SECONDS = 5
# Valkey answers in a millisecond; a miss waits for it this long at most, and not at all while it is away.
PRICE_CACHE_TIMEOUT_SECONDS = 0.02
# Six quotes of three sides each, every number at full length, are 2.5 KB.
PRICE_CACHE_BYTES_MAX = 8 * 1024

# --- access ------------------------------------------------------------------------------------------------

# One end customer's network: RFC 6177 gives every site at least this, so a narrower block is evaded at no cost, and a
# narrower count of one caller's connections or requests too.
IPV6_PREFIX_BITS_MAX = 64
# Callers without a key whose limits are kept apart; 1 MB, more than a node's anonymous callers of one second.
ADDRESS_CELLS = 65_536
# Blocked networks after merging: 5,000 are asked for; 13 steps of a search, 512 KB in two buffers.
BLOCKS_MAX = 8_192
# Keys that one worker recognises without SHA-256; 2 MB of its own memory. Others are proven again, for under 1 us.
RECOGNISED_KEYS_MAX = 65_536
# A rate is whole requests in whole seconds: 20 bits and 12 of one word. More than a million a second is no limit, and
# who may ask less than once an hour is better held to a month.
RATE_REQUESTS_MAX = 1_000_000
RATE_SECONDS_MAX = 3600
# A page that is opened asks some 20 things at once, and a person opens several; then it asks two or three a second.
FREE_BURST = 200
# Shares of a month's quota at which customer and operator are told.
QUOTA_WARNING_PERCENTS = (80, 100)
# Mistakes of a key in a minute that cost nothing: who types makes a few, a program that goes on is wrong or searches.
MISTAKES_PER_MINUTE = 60
# Lost races in a row for one limit before a request is refused: 127 workers on one key never came near.
LIMIT_TRIES_MAX = 1_000
# So often the nodes of a cluster tell each other what they counted. Publicly measured, counters that are told every
# 50 ms admit 13 % too much, every 10 ms 4 %; here requests are reserved before they are given, so this only delays.
LIMIT_EXCHANGE_NS = 20_000_000
# Ten exchanges in a row that failed: from then on a node gives its share of a plan and no more.
LIMIT_EXCHANGE_AGE_MAX_NS = 200_000_000
# Until the keys are there for the first time: a client may ask again after a second.
KEYS_RETRY_MS = 1_000

# --- push --------------------------------------------------------------------------------------------------

# What a customer has room for: one subscription a shop of theirs; more is a program that creates them in a loop.
SUBSCRIPTIONS_PER_ACCOUNT_MAX = 1_000
# Of all accounts: ten times what one machine delivers every 10 s, some 200 MB of memory in a process that sends.
SUBSCRIPTIONS_MAX = 100_000
# A message of 150 assets has 15 kB of JSON; Standard Webhooks asks for less than 20.
SUBSCRIPTION_ASSETS_MAX = 150
# An address of a receiver, with a path and a query: what every client and proxy takes.
TARGET_BYTES_MAX = 2_048
# Receivers get a week at most to learn a new secret: then whoever has stolen the old one is out.
SECRET_GRACE_SECONDS_MAX = 7 * 86_400
# A first answer is given again to a client that retries within a day, as others keep them.
IDEMPOTENCY_SECONDS = 86_400
# Tests and replays of one account that wait: each is a message or many, beside those that others wait for.
ORDERS_WAITING_MAX = 20

# --- delivering over HTTPS ---------------------------------------------------------------------------------

# A name server answers in milliseconds; a question is asked again in half this time, for a datagram may be lost.
RESOLVE_SECONDS = 2.0
# Addresses of one name that are tried: a round robin of more servers than this only says the same again.
TARGET_ADDRESSES_MAX = 8
# Status line and headers of a receiver's answer: nginx and Apache send 8 KiB at most by default.
REPLY_HEAD_BYTES_MAX = 16 * 1024
# Read of an answer's body, so that its connection can be used again: an error page of a framework is smaller.
REPLY_BODY_BYTES_MAX = 16 * 1024
# Kept of it for the log: the first words of an error page.
REPLY_KEPT_BYTES_MAX = 1024
# Bytes of an HTTP/2 connection beside its answers' (settings, pings, window updates) that one delivery accounts for.
HTTP2_BESIDE_BYTES_MAX = 16 * 1024
# Streams of one HTTP/2 connection at once: RFC 9113, 6.5.2 asks peers to allow 100 at least.
HTTP2_STREAMS_MAX = 100
# A connection outlives the longest interval of a subscription, 60 s, and its jitter.
PUSH_IDLE_SECONDS = 90.0
# A connection is replaced after an hour, a quarter more or less: names move to other addresses, certificates end.
PUSH_CONNECTION_AGE_SECONDS = 3600.0
# TLS sessions kept to resume closed connections, some 5 KB each: saves the check of a chain of certificates.
TLS_SESSIONS_MAX = 4096

# --- supervisor --------------------------------------------------------------------------------------------

# 248 counters a process: the largest user, the consensus, needs 72. With the 8 words before them 2 KB a process.
COUNTER_WORDS = 248
# A data loop beats every 250 ms at the latest: after 20 missed beats it is stuck, not slow.
HEARTBEAT_AGE_MAX_NS = 5 * 1_000_000_000
# From the fork to the first beat: 0.1 s to 1 s measured; far more only where cores are missing or the disk hangs.
BOOT_MAX_NS = 30 * 1_000_000_000
# A stage of processes is started when the one before has beaten, or after this long: one that hangs stops nobody else.
START_STAGE_MAX_NS = 3 * 1_000_000_000
# Wait before a restart by the number of short runs in a row: at once, then longer, never more than 2 s: a ring holds
# five seconds without a flusher, and one request that kills workers must not keep them away for long.
RESTART_DELAYS_NS = (0, 200_000_000, 500_000_000, 1_000_000_000, 2_000_000_000)
# So many short runs in a row are a crash loop: an alarm. Five of under 6 s are five deaths within 40 s.
CRASH_LOOP_DEATHS = 5
SHORT_RUN_NS = 6 * 1_000_000_000
# Turns of the supervisor: heartbeats are looked at this often, signals and deaths wake it at once.
SUPERVISOR_TURN_MS = 100
# A supervisor that was itself not run for this long (a paused machine) must not take all others for stuck.
SUPERVISOR_GAP_MAX_NS = 1_000_000_000
# SIGTERM: everything is down in under 5 s. Each stage may take this long before the next is told to stop as well ...
DRAIN_STAGE_MAX_NS = 1_500_000_000
# ... and whoever is left after this is killed.
DRAIN_MAX_NS = 4_000_000_000
# Who is replaced while the node runs may take this long to end, then it is killed: most of it is for slow readers.
RETIRE_MAX_NS = 10 * 1_000_000_000
# A worker that is replaced lets a connection bring its next request for so long, which is answered as its last one:
# what comes at the moment of the close is lost, and who asks less often than this has to bear a close anyway.
RETIRE_IDLE_MAX_NS = 3 * 1_000_000_000
# ... and closes whatever is left after this.
RETIRE_WORKER_MAX_NS = 8 * 1_000_000_000
# LISTEN_WHEN_READY: a worker opens its ports with the prices, which take 2 to 5 s, and not later than this.
LISTEN_WAIT_MAX_NS = 10 * 1_000_000_000
# A first price takes 2 to 5 s; without one for this long the operator is told where to look.
READY_HINT_NS = 20 * 1_000_000_000
# Compiling the request loop, where no machine code came with the package: half a minute on two idle cores, minutes on a
# quarter of one. So long a start may be silent.
COMPILE_SECONDS_MAX = 600
# What a dying process may leave as its cause of death.
FAILURE_MESSAGE_BYTES_MAX = 1024
# Sockets, event descriptors and log files of a request worker at its connection limit, with room.
OPEN_FILES_WANTED = 65_536

# --- logs --------------------------------------------------------------------------------------------------

# One process's file before it is put aside, and how many are kept: 40 MB a process, 0.7 GB for a node of 17.
LOG_FILE_BYTES_MAX = 8 * 1024**2
LOG_FILES_KEPT = 5
# A state that comes and goes writes at most one line in this time, and its last one when it has come to rest.
STATE_LOG_GAP_NS = 1_000_000_000
# A database that is not there yet is starting, not away: the first cluster is made in 5 s to 30 s on a busy machine.
STORE_START_NS = 60 * 1_000_000_000

# --- ledger ------------------------------------------------------------------------------------------------

# The specification's alarm: more than 400 of the 999 slots are used. Here: of a ring's or the spool's room.
USAGE_ALARM_SHARE = 400 / 999
# The rings are drained this often, at least each 100 ms: 100,000 records a second are 5,000 in a turn.
DRAIN_TURN_MS = 50
# One spool segment is one transaction: 32 MB, 524,288 records, 5 s of load at 100,000 rows a second. What it costs to
# add up its sums hardly depends on its length.
SEGMENT_BYTES_MAX = 32 * 1024**2
# The spool leaves this much of its disk to others, above all to a database beside it: one that has no room for its log
# stops, and then nothing empties the spool.
DISK_RESERVE_BYTES_MIN = 1024**3
DISK_RESERVE_SHARE = 0.05
# The pusher's ring of deliveries, a power of two: 15 MB, 5 s at 50,000 datagrams a second.
DELIVERY_RING_RECORDS = 1 << 18
# With little to do, a transaction this often: each costs some ms, and nobody bills by the half second.
LOAD_GAP_SECONDS = 0.5
# While the disk refuses, a ring fuller than this is summed up so that answers go on being counted.
RING_SUM_SHARE = 0.75

# --- relations ---------------------------------------------------------------------------------------------

assert RECONNECT_BASE_SECONDS < RECONNECT_CAP_SECONDS <= RECONNECT_RESET_SECONDS
assert len(RESTART_DELAYS_NS) == CRASH_LOOP_DEATHS
assert list(RESTART_DELAYS_NS) == sorted(RESTART_DELAYS_NS)
assert SUPERVISOR_TURN_MS * 1_000_000 < SUPERVISOR_GAP_MAX_NS < HEARTBEAT_AGE_MAX_NS < BOOT_MAX_NS
assert DRAIN_STAGE_MAX_NS < DRAIN_MAX_NS < 5 * 1_000_000_000
assert CONSENSUS_REVIEW_NS + CONSENSUS_WAIT_MS_MAX * 1_000_000 <= 250_000_000
assert LEG_WINDOW_BPS + BACKED_WINDOW_BPS < DEPEG_WARN_BPS < DEPEG_PAGE_BPS
assert INDEX_HOLD_NS < JUMP_HOLD_NS
assert REQUEST_LINE_BYTES_MAX < HEAD_BYTES_MAX
assert DRAIN_TURN_MS < 100
assert USAGE_ALARM_SHARE < RING_SUM_SHARE < 1
assert NEW_NAMES_BURST < PARKED_OF_CALLER_MAX < PARKED_MAX < MISS_QUEUE_ENTRIES
assert DRAIN_PARKED_MAX_NS < DRAIN_WORKER_MAX_NS < MISS_MAX_NS
assert DRAIN_IDLE_MAX_NS < DRAIN_WORKER_MAX_NS < DRAIN_STAGE_MAX_NS
assert RETIRE_IDLE_MAX_NS < RETIRE_WORKER_MAX_NS < RETIRE_MAX_NS
assert ADDRESS_CELLS % 4 == 0
assert RECOGNISED_KEYS_MAX & (RECOGNISED_KEYS_MAX - 1) == 0
