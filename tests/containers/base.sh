#!/usr/bin/env bash
# Makes the base image of the Dockerfile where no registry is in reach: Debian by debootstrap, and a CPython of this
# machine in /usr/local. Elsewhere `podman pull` does. Needs root, podman and debootstrap.
set -euo pipefail

for tool in podman debootstrap; do
    command -v "$tool" >/dev/null || { echo "$tool is not installed" >&2; exit 1; }
done
base=$(sed -n 's/^FROM \(\S*\).*/\1/p' "$(dirname "$0")/../../Dockerfile" | head -n 1)
if podman image exists "$base"; then
    exit
fi

# Prefix and version of a CPython that is no package of Debian's; the newest that the gate supports.
found=
for version in 3.13 3.12 3.11; do
    for python in "${PYENV_ROOT:-$HOME/.pyenv}/versions/$version".*/bin/python3 "$(command -v "python$version")"; do
        if [ -z "$found" ] && [ -x "$python" ]; then
            found=$("$python" -c 'import sys; print(sys.base_prefix) if sys.base_prefix != "/usr" else None')
            found=${found:+$found $version}
        fi
    done
done
read -r prefix version <<<"$found" || { echo "no CPython 3.11 to 3.13 outside /usr" >&2; exit 1; }

root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT
libraries=ca-certificates,libexpat1,libffi8,libncursesw6,libreadline8,libsqlite3-0,libssl3
debootstrap --variant=minbase --include="$libraries" "${base##*-}" "$root" >"$root.log" || { tail "$root.log" >&2; exit 1; }
rm -r "$root.log" "$root"/var/cache/apt/archives/*.deb "$root"/var/lib/apt/lists/* "$root"/usr/share/{doc,locale,man}

# Only the interpreter and its library: other packages of this machine's Python are nobody's business.
mkdir -p "$root/usr/local/bin" "$root/usr/local/lib"
cp "$prefix/bin/python$version" "$root/usr/local/bin/"
tar -C "$prefix/lib" --exclude=site-packages --exclude=test --exclude=__pycache__ -c "python$version" \
    $(cd "$prefix/lib" && ls -d libpython3* 2>/dev/null || true) | tar -C "$root/usr/local/lib" -x
mkdir -p "$root/usr/local/lib/python$version/site-packages"
chroot "$root" ldconfig
chroot "$root" "python$version" -m ensurepip --default-pip 2>&1 | tail -n 1
chroot "$root" "python$version" -m compileall -q -x site-packages "/usr/local/lib/python$version"
ln -s "python$version" "$root/usr/local/bin/python3"
ln -s python3 "$root/usr/local/bin/python"
tar -C "$root" -c . | podman import --quiet --change "ENV PATH=/usr/local/bin:/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin" - "localhost/$base"
