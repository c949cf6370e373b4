#!/bin/sh
# The commands as the service sees them: its settings, its secrets and, for root, its user.
set -a
TRINITY_DATA_DIR=/var/lib/trinity
TRINITY_CONFIG=/etc/trinity/trinity.toml
[ ! -r /etc/default/trinity ] || . /etc/default/trinity
[ ! -d /run/credentials/trinity.service ] || CREDENTIALS_DIRECTORY=/run/credentials/trinity.service
set +a
if [ "$(id -u)" = 0 ]; then
    exec setpriv --reuid=trinity --regid=trinity --init-groups /opt/trinity/bin/trinity "$@"
fi
exec /opt/trinity/bin/trinity "$@"
