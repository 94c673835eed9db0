#!/bin/sh
# Made by cloudaccel. One line a minute to the serial console, which the account can read without any way in:
# the key of its SSH server (so that who comes in need not trust the first answer),
# how many accelerators answer, how busy they are, and whether the cloud has announced that it takes the machine back.
# $1: shell command that prints something once the cloud has announced that; may be empty.
announced=$1
console=${CLOUDACCEL_CONSOLE:-/dev/console}
pause=${CLOUDACCEL_PAUSE:-10}
busy=$(date +%s)

each_use() { # percent of each accelerator, one a line; ? where one answers that cannot say it; nothing: none answers
  if command -v nvidia-smi >/dev/null 2>&1; then
    timeout 20 nvidia-smi --query-gpu=utilization.gpu --format=csv,noheader,nounits 2>/dev/null |
      awk '/^ *[0-9]+ *$/ {print $1; next} /N\/A/ {print "?"}'
  elif command -v rocm-smi >/dev/null 2>&1; then
    timeout 20 rocm-smi --showuse --csv 2>/dev/null | awk -F, '/^card[0-9]+,/ {print ($2 ~ /^[0-9]+$/) ? $2 : "?"}'
  elif command -v hl-smi >/dev/null 2>&1; then
    timeout 20 hl-smi -Q utilization.aip -f csv,noheader 2>/dev/null | awk '/^ *[0-9]+/ {print $1 + 0}'
  elif command -v neuron-ls >/dev/null 2>&1; then
    timeout 20 neuron-ls --json-output 2>/dev/null | grep -c '"neuron_device"' | awk '{for (i = 0; i < $1; i++) print "?"}'
  else
    for device in /dev/accel[0-9]* /dev/vfio/[0-9]*; do [ -e "$device" ] && echo '?'; done
  fi
  true
}

notice=no
while :; do
  most=-1 count=- unsaid=
  for sample in 1 2 3 4 5 6; do # a minute in six looks: the busiest counts, so that a pause between steps is not idleness
    found=$(each_use)
    if [ -n "$found" ]; then
      count=$(printf '%s\n' "$found" | wc -l | tr -d ' ')
      for value in $found; do
        if [ "$value" = '?' ]; then unsaid=yes; elif [ "$value" -gt "$most" ]; then most=$value; fi
      done
    fi
    if [ "$notice" = no ] && [ -n "$announced" ] && [ -n "$(sh -c "$announced" 2>/dev/null)" ]; then
      notice=yes
      if [ -x /etc/cloudaccel/on-notice ]; then /etc/cloudaccel/on-notice & fi
      break
    fi
    sleep "$pause"
  done
  now=$(date +%s) use=$most
  if [ "$most" -ge 2 ]; then busy=$now; fi
  if [ "$most" -lt 0 ] || [ -n "$unsaid" ]; then use=- busy=$now; fi
  printf '\ncloudaccel-report 1 at=%s accelerators=%s use=%s busy=%s notice=%s\n' \
    "$now" "$count" "$use" "$busy" "$notice" >"$console"
  key=${CLOUDACCEL_HOSTKEY:-/etc/ssh/ssh_host_ed25519_key.pub}
  if [ -r "$key" ]; then cut -d ' ' -f 1,2 "$key" | sed 's/^/cloudaccel-hostkey /' >>"$console"; fi
  if [ -n "$CLOUDACCEL_ONCE" ]; then exit 0; fi
done
