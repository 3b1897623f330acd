//! Test of host names that resolve to forbidden addresses, or to an address that changes. Uses a
//! real DNS server. The binary runs in a separate network namespace, in which the test controls all
//! addresses and host names.

use std::{fs, os::unix::fs::MetadataExt, process::Stdio, time::Duration};

use serde_json::{Value, json};
use tokio::{process::Command, time::timeout};

use crate::{python_packages, service};

/// Address of a simulated site on the Internet. The address exists only within the namespace.
const PUBLIC: &str = "93.184.216.34";

/// Addresses that the gateway must not connect to. A server listens on each of them.
const FORBIDDEN: [&str; 3] = ["127.0.0.2", "10.1.2.3", "169.254.169.254"];

/// Shell script that prepares the namespace and runs a program in it. `$1` is a folder with the
/// configuration of the resolver. The further arguments up to `--` are addresses, and the rest is
/// the program with its arguments.
const PREPARE: &str = r#"
set -eu
folder=$1
shift
ip link set lo up
while [ "$1" != -- ]; do
  ip address add "$1/32" dev lo
  shift
done
shift
for file in resolv.conf nsswitch.conf; do
  mount --bind "$folder/$file" "/etc/$file"
done
exec "$@"
"#;

const ENDS_WITHIN: Duration = Duration::from_secs(60);

/// Runs `python/rebinding_sites.py` in a network namespace, and returns the JSON that the script
/// prints.
async fn run_in_namespace() -> Value {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("resolv.conf"), "nameserver 127.0.0.1\n").unwrap();
    fs::write(folder.path().join("nsswitch.conf"), "hosts: files dns\n").unwrap();
    let mut unshare = Command::new("unshare");
    let is_root = fs::metadata("/proc/self").unwrap().uid() == 0;
    if !is_root {
        unshare.arg("--map-root-user");
    }
    // When `unshare` ends, all processes of the namespace end too.
    unshare.args(["--net", "--mount", "--pid", "--fork", "--kill-child"]);
    unshare.args(["sh", "-c", PREPARE, "sh"]).arg(folder.path());
    unshare.arg(PUBLIC).args(&FORBIDDEN[1..]).arg("--");
    let script = python_packages::script("rebinding_sites.py");
    unshare.arg(script.as_std().get_program());
    unshare.args(script.as_std().get_args());
    unshare.arg(service::binary().as_std().get_program());
    unshare.stdin(Stdio::null()).kill_on_drop(true);
    let output = timeout(ENDS_WITHIN, python_packages::output_of(&mut unshare)).await;
    serde_json::from_str(&output.expect("the script ends")).unwrap()
}

#[tokio::test]
async fn host_name_is_resolved_once_per_connection_and_forbidden_addresses_get_no_connection() {
    let seen = run_in_namespace().await;
    let not_allowed = json!([403, "upstream_not_allowed", "not_sent"]);
    let answered = json!([200, null, null]);
    let calls = &seen["calls"];
    for (name, expected) in [
        ("public.golf.example", &answered),
        // The first look-up returns the public address, and all later look-ups return 127.0.0.2.
        ("flips.golf.example", &answered),
        ("flips.golf.example again", &not_allowed),
        ("mixed.golf.example", &not_allowed),
        ("mixed-forbidden-first.golf.example", &not_allowed),
        ("alias-of-public.golf.example", &answered),
        ("alias-of-private.golf.example", &not_allowed),
        ("metadata.golf.example", &not_allowed),
        ("loopback.golf.example", &not_allowed),
        ("mapped.golf.example", &not_allowed),
        ("nat64.golf.example", &not_allowed),
        ("localhost.", &not_allowed),
        ("localhost", &not_allowed),
        (
            "unknown.golf.example",
            &json!([502, "upstream_unreachable", "not_sent"]),
        ),
    ] {
        assert_eq!(&calls[name], expected, "{name}: {seen}");
    }
    assert_eq!(seen["connections"], json!({PUBLIC: 3}), "{seen}");
    assert_eq!(seen["lookups"]["flips.golf.example"], 2, "{seen}");
    // Checks the test itself: a program without address checks can reach the listeners.
    let reachable: Vec<_> = FORBIDDEN.iter().map(|address| json!(address)).collect();
    assert_eq!(seen["reachable"], json!(reachable), "{seen}");
}
