// Does the same as ../python/odd_jars.py, with fetch and tough-cookie.
//
// Usage: node odd_jars.js SERVICE URL...

const { CookieJar } = require("tough-cookie");

async function main() {
  const [service, ...urls] = process.argv.slice(2);
  const client = new CookieJar(null, { looseMode: true, rejectPublicSuffixes: false });
  const lines = [];
  for (const url of urls) {
    const answer = await fetch(url);
    lines.push(answer.headers.getSetCookie());
    for (const line of lines.at(-1)) {
      await client.setCookie(line, url, { ignoreError: true });
    }
  }
  const { cookies } = await client.serialize();
  const jar = cookies.map(({ key, value, path }) => [key ?? "", value ?? "", path]);
  const login = {
    // An assignment to __proto__ would not add a member.
    cookies: Object.fromEntries(jar.filter(([, , path]) => path === "/")),
    base_url: urls[0],
  };
  const created = await fetch(`${service}/v1/sessions`, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(login),
  }).then((answer) => answer.json());
  const headers = { Authorization: `Bearer ${created.access_token}` };
  const session = await fetch(`${service}/v1/session`, { headers }).then((answer) => answer.json());
  console.log(JSON.stringify({ jar, created, session, lines }));
}

main();
