#!/usr/bin/env bash
# svix: `Webhook.verify` returns None, where its guides and the library that it wraps have the payload.
#
# Expected: `msg = Webhook(secret).verify(payload, headers)`, as in Svix's guide to verifying with Python and as in
#           `standardwebhooks`, on which it stands: the parsed JSON of the message.
# Seen:     None for a good signature. A receiver that was written from the guide fails at each good message, and its
#           sender sees a receiver that is broken.
# Versions: svix 2.9.1, standardwebhooks 1.1.0, Python 3.11.
# Trinity:  docs/push.md shows a receiver with `standardwebhooks`, and says so of svix; the tests verify with both.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check svix==2.9.1 standardwebhooks==1.1.0

cat >"$folder/verify.py" <<'EOF'
import datetime

import standardwebhooks
import svix.webhooks

SECRET = "whsec_plJ3nmyCDGBKInavdOK15jsl"  # of the public test vectors
now = datetime.datetime.now(datetime.UTC).replace(microsecond=0)
body = '{"type":"price.update","data":{}}'
headers = {
    "webhook-id": "msg_1",
    "webhook-timestamp": str(int(now.timestamp())),
    "webhook-signature": svix.webhooks.Webhook(SECRET).sign("msg_1", now, body),
}
seen = {
    "standardwebhooks": standardwebhooks.Webhook(SECRET).verify(body, headers),
    "svix": svix.webhooks.Webhook(SECRET).verify(body, headers),
}
try:
    svix.webhooks.Webhook(SECRET).verify(body + " ", headers)
    is_checked = False
except svix.webhooks.WebhookVerificationError:
    is_checked = True
for name, value in seen.items():
    print(f"{name}: {value!r}")
print(f"svix refuses another body: {is_checked}")
expected = {"standardwebhooks": {"type": "price.update", "data": {}}, "svix": None}
raise SystemExit(0 if is_checked and seen == expected else 1)
EOF
"$folder/venv/bin/python" "$folder/verify.py" || { echo "the behaviour has changed"; exit 1; }

# Seen on 2026-11-30:
#   standardwebhooks: {'type': 'price.update', 'data': {}}
#   svix: None
#   svix refuses another body: True
