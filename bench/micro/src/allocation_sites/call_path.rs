//! The lines of source that led to a call.

use std::{ffi::c_void, fmt, path::Path};

/// Where the sources of libraries lie.
const REGISTRY: &str = "/registry/src/";

/// A line of source.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Line {
    /// The package that it belongs to.
    package: String,
    place: String,
    is_ours: bool,
}

/// From the line of this project that was the last to be reached, over the libraries that it
/// called, to the line that made the call. Of each library only its last line is kept, and nothing
/// of the standard library and the runtime.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CallPath {
    /// Outermost first. Where there is no line of ours, the libraries' only.
    lines: Vec<Line>,
}

impl CallPath {
    /// Of a backtrace, innermost first.
    pub(super) fn of(addresses: &[usize]) -> Self {
        let mut lines = Vec::<Line>::new();
        for line in addresses.iter().flat_map(|address| lines_at(*address)) {
            // What called from the same package is of no interest.
            if lines.last().is_none_or(|last| last.package != line.package) {
                lines.push(line);
            }
            if lines.last().is_some_and(|last| last.is_ours) {
                break;
            }
        }
        lines.reverse();
        Self { lines }
    }

    /// The line of this project, if there is one.
    #[must_use]
    pub fn our_line(&self) -> Option<&str> {
        let first = self.lines.first().filter(|line| line.is_ours);
        first.map(|line| line.place.as_str())
    }
}

impl fmt::Display for CallPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut arrow = "";
        for line in &self.lines {
            write!(f, "{arrow}{}", line.place)?;
            arrow = " > ";
        }
        Ok(())
    }
}

/// Several where functions are inlined, innermost first.
fn lines_at(address: usize) -> Vec<Line> {
    let mut lines = Vec::new();
    backtrace::resolve(address as *mut c_void, |symbol| {
        if let (Some(file), Some(number)) = (symbol.filename(), symbol.lineno()) {
            lines.extend(line(file, number));
        }
    });
    lines
}

fn line(file: &Path, number: u32) -> Option<Line> {
    let file = file.to_str()?;
    let Some((_, file)) = file.split_once(REGISTRY) else {
        let (_, file) = file.split_once("/crates/")?;
        return Some(Line {
            package: file.split('/').next()?.to_owned(),
            place: format!("crates/{file}:{number}"),
            is_ours: true,
        });
    };
    let (_index, file) = file.split_once('/')?;
    let (package, file) = file.split_once("/src/")?;
    // Such as `actix-http-3.20.0`, which reads better without.
    let (package, _) = package.rsplit_once('-').unwrap_or((package, ""));
    let is_noise = match package {
        "backtrace" | "actix-rt" => true,
        "tokio" => file.starts_with("runtime/") || file.starts_with("loom/"),
        _ => false,
    };
    (!is_noise).then(|| Line {
        package: package.to_owned(),
        place: format!("{package}/{file}:{number}"),
        is_ours: false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(file: &str) -> Option<String> {
        line(Path::new(file), 7).map(|line| line.place)
    }

    #[test]
    fn lines_are_named_by_package_and_what_runs_everything_is_left_out() {
        assert_eq!(
            place("/home/u/tee-session/crates/domain/src/token.rs").as_deref(),
            Some("crates/domain/src/token.rs:7")
        );
        assert_eq!(
            place("/home/u/.cargo/registry/src/index-1a/actix-http-3.20.0/src/h1/codec.rs")
                .as_deref(),
            Some("actix-http/h1/codec.rs:7")
        );
        assert_eq!(place("/rustc/abc/library/alloc/src/vec/mod.rs"), None);
        assert_eq!(
            place("/home/u/.cargo/registry/src/index-1a/tokio-1.54.1/src/runtime/task/core.rs"),
            None
        );
    }
}
