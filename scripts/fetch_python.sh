#!/usr/bin/env bash
# Gets a Python that this machine's own Debian is too old for, as in: scripts/fetch_python.sh 3.14
# apt fetches its packages from a later Debian, checks them by that suite's signed index, and they are unpacked, with
# the C library that they were built for, into one directory where pyenv keeps its versions and the runner looks for
# them. Nothing of the system's is installed or changed; no root is needed. Half a minute; instant when it is there.
set -euo pipefail

suite=forky
version=${1:?usage: scripts/fetch_python.sh VERSION, as in 3.14}
versions=${PYENV_ROOT:-$HOME/.pyenv}/versions
prefix=$versions/$version-debian
python=$prefix/bin/python$version

give_up() {
    echo "fetch_python: no Python $version: $1; get one by other means, as by: uv python install $version" >&2
    exit 1
}

if "$python" -c '' 2>/dev/null; then
    echo "fetch_python: found $python"
    exit 0
fi
command -v apt-get >/dev/null && command -v dpkg-deb >/dev/null || give_up "this is no Debian: there is no apt-get"
# Not apt-get indextargets, which knows of none before the first update.
mirror=$(apt-get --print-uris update | sed -n "s|^'\(.*/debian/\)dists/.*|\1|p" | sort -u | head -n 1)
[ -n "$mirror" ] || give_up "apt's sources name no mirror of Debian"

# Beside its later place, so that it gets there by a rename; the runner does not look into names with a dot.
mkdir -p "$versions"
work=$(mktemp -d "$versions/.fetch-XXXXXX")
trap 'rm -rf "$work"' EXIT

# An apt with lists and archives of its own, to which nothing is installed yet: it fetches the whole closure.
mkdir -p "$work"/{lists,archives}/partial "$work/root"
touch "$work/status"
cat >"$work/sources" <<EOF
deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror $suite main
EOF
cat >"$work/apt.conf" <<EOF
Dir::State "$work";
Dir::State::status "$work/status";
Dir::Cache "$work";
Dir::Etc::sourcelist "$work/sources";
Dir::Etc::sourceparts "/dev/null";
Dir::Etc::preferencesparts "/dev/null";
Acquire::Languages "none";
APT::Sandbox::User "root";
EOF
export APT_CONFIG=$work/apt.conf
echo "fetch_python: Python $version of Debian $suite into $prefix"
apt-get -qq update || give_up "apt cannot read the index of $suite"
apt-get -qq --yes --no-install-recommends --download-only install "python$version-venv" patchelf >/dev/null ||
    give_up "$suite does not hand out python$version-venv"
for package in "$work"/archives/*.deb; do
    dpkg-deb --extract "$package" "$work/root"
done

# A program of a later Debian needs that one's loader and C library, and nothing else may be given them: so it is told
# where they are, not its environment. In this order; after the other one the program crashes (patchelf 0.18).
usr=$work/root/usr
loader=$(basename "$(echo "$usr"/lib64/ld-*)")
libraries=$(dirname "$(readlink "$usr/lib64/$loader")")  # ../lib/x86_64-linux-gnu
patchelf() {
    "$usr/lib64/$loader" --library-path "$usr/lib64/$libraries" "$usr/bin/patchelf" "$@" "$usr/bin/python$version"
}
patchelf --force-rpath --set-rpath "$prefix/lib64/$libraries"
patchelf --set-interpreter "$prefix/lib64/$loader"

# venv takes pip from a place that is the system's.
sed -i "s|/usr/share/python-wheels|$prefix/share/python-wheels|" "$usr/lib/python$version"/_sysconfigdata*.py \
    "$usr/lib/python$version"/_sysconfig_vars*.json
ln -s "python$version" "$usr/bin/python3"
find "$usr" -xtype l -delete  # links into the system's /etc

rm -rf "$prefix"
mv -T "$usr" "$prefix"
"$python" -c 'import ctypes, sqlite3, ssl; print("fetch_python: Python", __import__("sys").version)' ||
    give_up "the one of Debian $suite does not run here"
