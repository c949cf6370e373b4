#!/bin/sh
# Packs a virtual environment with Trinity in it, wherever it was made, as a Debian package: /opt/trinity, the service,
# its user, its settings, completion. `make deb` calls it. Arguments: the environment, the folder for the package.
set -eu
environment=$(realpath "$1") out=$(realpath "$2") here=$(dirname "$(realpath "$0")")
version=$("$environment/bin/trinity" --version | cut -d' ' -f2)
python=$("$environment/bin/python" -c 'import sys; print(f"python3.{sys.version_info.minor}")')
architecture=$(dpkg --print-architecture)
stage=$(mktemp -d)
trap 'rm -rf "$stage"' EXIT

mkdir -p "$stage/opt" "$stage/usr/bin" "$stage/etc/trinity" "$stage/etc/default" "$stage/usr/lib/systemd/system" \
    "$stage/usr/lib/sysusers.d" "$stage/usr/share/bash-completion/completions" "$stage/usr/share/zsh/vendor-completions" \
    "$stage/DEBIAN"
cp -a "$environment" "$stage/opt/trinity"
# Scripts name the Python of the place where they were made; the environment itself belongs to the system's Python.
find "$stage/opt/trinity/bin" -type f -exec sed -i "1s#^\#!$environment/#\#!/opt/trinity/#" {} +
ln -sf "/usr/bin/$python" "$stage/opt/trinity/bin/python"
ln -sf python "$stage/opt/trinity/bin/python3"
ln -sf python "$stage/opt/trinity/bin/$python"
sed -i "s#^home = .*#home = /usr/bin#; /^executable = /d; /^command = /d" "$stage/opt/trinity/pyvenv.cfg"
"$environment/bin/python" -m compileall -q --invalidation-mode unchecked-hash -s "$stage" "$stage/opt/trinity/lib"

cp "$here/../systemd/trinity.service" "$stage/usr/lib/systemd/system/trinity.service"
cp "$here/../systemd/trinity.sysusers" "$stage/usr/lib/sysusers.d/trinity.conf"
cp "$here/trinity.sh" "$stage/usr/bin/trinity"
cp "$here/default" "$stage/etc/default/trinity"
"$environment/bin/trinity" config example >"$stage/etc/trinity/trinity.toml"
"$environment/bin/trinity" completion bash >"$stage/usr/share/bash-completion/completions/trinity"
"$environment/bin/trinity" completion zsh >"$stage/usr/share/zsh/vendor-completions/_trinity"
for script in postinst prerm postrm; do cp "$here/$script" "$stage/DEBIAN/$script"; done
printf '%s\n' /etc/trinity/trinity.toml /etc/default/trinity >"$stage/DEBIAN/conffiles"
cat >"$stage/DEBIAN/control" <<CONTROL
Package: trinity-oracle
Version: $version
Architecture: $architecture
Maintainer: Trinity <trinity@localhost>
Section: net
Priority: optional
Depends: $python, systemd (>= 252), util-linux
Suggests: postgresql, valkey-server, nginx
Installed-Size: $(du -sk "$stage" | cut -f1)
Description: self-hosted crypto price oracle
 Six exchanges in, one trustworthy price out over HTTP and UDP, with a ledger of every request, reports and a dashboard.
CONTROL
find "$stage" -type d -exec chmod 755 {} +
find "$stage/usr" "$stage/etc" -type f -exec chmod 644 {} +
chmod 755 "$stage/usr/bin/trinity" "$stage/DEBIAN/postinst" "$stage/DEBIAN/prerm" "$stage/DEBIAN/postrm"
chmod -R go+rX "$stage/opt/trinity"
# zstd: 500 MB pack in seconds, with xz in minutes.
dpkg-deb --root-owner-group -Zzstd -z9 --build "$stage" "$out/trinity-oracle_${version}_$architecture.deb"
