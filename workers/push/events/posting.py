"""One try of an event: its body, its signature of now, one POST through the pool; what came of it as an `EventAnswer`.

Rules: the body is the same on every try, the timestamp and so the signature are of the try. What is wrong with the
endpoint (an address that must not be dialled, a secret that is none) is an answer like any other, never an error.
"""

from trinity.clock import NS_PER_SECOND, Clock
from trinity.errors import DeliveryError, InputError
from trinity.push.events import body_of
from trinity.push.secret import read_secret
from trinity.push.signature import webhook_headers
from trinity.push.targets import parse_target
from workers.push.events.queue import Claim
from workers.push.events.schedule import DELIVERY_HEADER, EventAnswer
from workers.push.events.worker import Post
from workers.push.https.pool import ConnectionPool

# Standard Webhooks allows 15 to 30 s; nobody waits for an event as for a price.
TIMEOUT_SECONDS = 15.0


def poster(pool: ConnectionPool, clock: Clock) -> Post:
    """Posts through the pool that all deliveries share."""

    async def post(of: Claim) -> EventAnswer:
        body = body_of(of.type, of.occurred_at, of.data)
        try:
            target = parse_target(of.url)
            secrets = [read_secret(secret) for secret in (of.secret, of.old_secret) if secret is not None]
        except InputError as error:
            return EventAnswer(None, str(error))
        headers = webhook_headers(secrets, of.uid, clock.wall_ns() // NS_PER_SECOND, body)
        try:
            reply = await pool.post(target, headers, body, TIMEOUT_SECONDS, is_suspect=of.is_failing)
        except DeliveryError as error:
            return EventAnswer(None, f"{error.kind}: {error.detail}"[:200])
        return EventAnswer(reply.status, "", reply.retry_after_s, reply.headers.get(DELIVERY_HEADER, ""))

    return post
