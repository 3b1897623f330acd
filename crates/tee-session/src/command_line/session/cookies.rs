//! The command `tee-session session cookies`: shows the cookies of a session with their attributes,
//! exports these cookies to a cookie file, and imports the cookies of a cookie file into the
//! session.

mod export;
mod file_cookie;
mod format;
mod import;
mod netscape;
mod set_cookie_line;
mod show;
mod storage_state;

use std::path::PathBuf;

use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};

use self::{export::EXPORT, format::FORMAT, show::REVEAL};
use super::{Fault, Service, token};

pub(super) const NAME: &str = "cookies";

const IMPORT: &str = "import";

const AFTER_HELP: &str = "\
With --export and --import, a login moves between a session and a browser or an HTTP client:

  netscape       cookies.txt of curl (-b, -c), wget (--load-cookies), yt-dlp and browser extensions
  storage-state  storage state of Playwright, in JSON

--import recognizes the format. It adds the cookies that belong to the host of the session's base
URL, with domain, path and expiry, by the rules of browsers. It names each cookie that the session
cannot take, and counts those of other hosts. If the file is malformed, nothing is imported.
HttpOnly, SameSite and local storage are not kept. Each use restarts the idle timeout of the
session.

Examples:
  tee-session session cookies --token-file token
  tee-session session cookies --reveal --json < token | jq '.cookies[] | {name, value}'

From a browser into a new session:
  echo '{}' | tee-session session create --base-url https://golf.example --token-out token
  tee-session session cookies --import cookies.txt --token-file token

And back:
  tee-session session cookies --export cookies.txt --token-file token
  curl -b cookies.txt https://golf.example/members
  tee-session session cookies --export state.json --token-file token

Exit codes: 0 done, 1 a cookie was left out, no such session, or the service was unavailable,
2 invalid command line or input.";

pub(super) fn command() -> Command {
    let file = |name: &'static str| {
        let file = Arg::new(name).long(name).value_name("FILE");
        file.value_parser(value_parser!(PathBuf))
    };
    Command::new(NAME)
        .about("Show the cookies of a session, or carry them to and from curl, wget or Playwright")
        .after_help(AFTER_HELP)
        .arg(token::arg())
        .arg(
            Arg::new(REVEAL)
                .long(REVEAL)
                .action(ArgAction::SetTrue)
                .conflicts_with_all([EXPORT, IMPORT])
                .help("Also show the values of the cookies, which are the upstream login"),
        )
        .arg(file(EXPORT).conflicts_with(IMPORT).help(
            "Write the cookies to this new file, which only its owner can read; -: standard output",
        ))
        .arg(
            Arg::new(FORMAT)
                .long(FORMAT)
                .value_name("FORMAT")
                .requires(EXPORT)
                .value_parser(format::NAMES)
                .help(
                    "Format of the exported file; not set: storage-state if its name ends with \
                     .json, otherwise netscape",
                ),
        )
        .arg(file(IMPORT).help(
            "Add the cookies of this file to the session; -: standard input (the token is then \
             read from --token-file)",
        ))
}

pub(super) async fn run(flags: &ArgMatches, service: &Service) -> Result<(), Fault> {
    if let Some(file) = flags.get_one::<PathBuf>(IMPORT) {
        import::run(flags, service, file).await
    } else if let Some(file) = flags.get_one::<PathBuf>(EXPORT) {
        export::run(flags, service, file).await
    } else {
        show::run(flags, service).await
    }
}
