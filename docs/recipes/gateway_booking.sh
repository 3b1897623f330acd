#!/usr/bin/env bash
# Logs in to a booking site, lists, books and adds a partner with curl through the upstream gateway.
#
# Usage: gateway_booking.sh INSTANCE SITE
# Prints a JSON object: the pages, and the path to which the booking was redirected.
#
# Change the paths and the form fields to those of your site. If the instance has service clients, the
# request to /v1/sessions needs the credentials of one (curl --user).
set -euo pipefail

instance=$1 site=$2 gateway=$1/v1/upstream
token_of() { sed -n 's/.*"access_token":"\([^"]*\)".*/\1/p'; }
# The token is an argument of no process, because other users could see it there.
as() {
  local token=$1
  shift
  curl -sS --location --config - "$@" <<<"header = \"Authorization: Bearer $token\""
}

session="{\"cookies\": {}, \"base_url\": \"$site\"}"
old=$(curl -sS --json "$session" "$instance/v1/sessions" | token_of)
form=$(as "$old" "$gateway/login")
field=$(sed -n 's/.*name="\([^"]*\)" value="\([^"]*\)".*/\1=\2/p' <<<"$form")
# Over TLS, Django requires a Referer of its own origin. The gateway translates this one.
welcome=$(as "$old" --referer "$gateway/login" --data "$field&member=Anna&pin=1234" "$gateway/login")
# The token of the session is older than the login.
token=$(as "$old" --request POST "$instance/v1/session/rotate" | token_of)

times=$(as "$token" "$gateway/teetimes")
booked=$(as "$token" --write-out ' at %{url_effective}' "$gateway/book?slot=7")
partner=$(as "$token" "$gateway/partner?edit=1")
old_token=$(as "$old" --output /dev/null --write-out '%{http_code}' "$gateway/book?slot=8")
printf '{"welcome": "%s", "times": "%s", "booked": "%s", "booked_at": "%s", "partner": "%s", "old_token": %s}\n' \
  "$welcome" "$times" "${booked% at *}" "${booked#* at "$instance"}" "$partner" "$old_token"
