#!/usr/bin/env bash
# Logs in to a booking site, lists, books and adds a partner with curl through the upstream gateway.
#
# Usage: gateway_booking.sh INSTANCE SITE
# Prints a JSON object: the pages, and the path to which the booking was redirected. Ends at the first error, and
# prints the answer and what to do. Needs curl and jq.
#
# Change the paths and the form fields to those of your site. If the instance has service clients, the request to
# /v1/sessions needs the credentials of one (curl --user).
set -euo pipefail

instance=$1 site=$2 gateway=$1/v1/upstream

# Sends a request with the token $1, which may be empty. The token is an argument of no process, because other users
# could see it there.
as() {
  local token=$1 answer
  shift
  answer=$(curl -sS --fail-with-body --config - "$@" <<<"${token:+header = \"Authorization: Bearer $token\"}") ||
    failed "$answer" "${@: -1}"
  printf '%s' "$answer"
}

failed() {
  local answer=$1 url=$2 advice=''
  case $(jq --raw-output '"\(.code) \(.outcome)"' <<<"$answer" 2>/dev/null) in
    upstream_session_expired*) advice='The login is over: log in again. Then look at the pages of the site.' ;;
    *not_sent) advice='This request was not sent, and can be repeated.' ;;
    # Not a problem of the gateway: the answer comes from the site or a proxy, or is missing.
    *unknown | '') advice='The site may have carried out the request: look at its pages before you repeat it.' ;;
  esac
  printf '%s\n' "$url:" "$answer" "$advice" >&2
  exit 1
}

session=$(jq --null-input --arg site "$site" '{cookies: {}, base_url: $site}')
old=$(as '' --json "$session" "$instance/v1/sessions" | jq --raw-output .access_token)
form=$(as "$old" "$gateway/login")
field=$(sed -n 's/.*name="\([^"]*\)" value="\([^"]*\)".*/\1=\2/p' <<<"$form")
[[ $field ]] || failed "$form" "$gateway/login"
# Over TLS, Django requires a Referer of its own origin. The gateway translates this one.
welcome=$(as "$old" --location --write-out '\n%{url_effective}' --referer "$gateway/login" \
  --data-urlencode "$field" --data-urlencode member=Anna --data-urlencode pin=1234 "$gateway/login")
# After a wrong PIN, many sites show their login page again, with the status 200.
if [[ ${welcome##*$'\n'} == "$gateway"/login* ]]; then
  echo 'The site has refused the login.' >&2
  exit 1
fi
# The token of the session is older than the login.
token=$(as "$old" --request POST "$instance/v1/session/rotate" | jq --raw-output .access_token)

times=$(as "$token" --location "$gateway/teetimes")
# Without --location: if the booking is redirected, an error of the second request says nothing about the booking.
booking=$(as "$token" --write-out '\n%{http_code} -> %{redirect_url}' "$gateway/book?slot=7")
booked_at=${booking##* -> }
[[ $booked_at && $booked_at != "$gateway"/login* ]] || failed "$booking" "$gateway/book?slot=7"
echo "The site has answered the booking: $booked_at" >&2
booked=$(as "$token" --location "$booked_at")
partner=$(as "$token" "$gateway/partner?edit=1")
old_token=$(curl -sS --output /dev/null --write-out '%{http_code}' --config - "$gateway/teetimes" \
  <<<"header = \"Authorization: Bearer $old\"")
# The login at the site is still valid. If the site has a logout, call it first.
as "$token" --request DELETE "$instance/v1/session"
jq --null-input --arg welcome "${welcome%$'\n'*}" --arg times "$times" --arg booked "$booked" \
  --arg booked_at "${booked_at#"$instance"}" --arg partner "$partner" --argjson old_token "$old_token" '$ARGS.named'
