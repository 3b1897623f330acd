//! Call paths: the source lines that lead to a memory allocation.

use std::{ffi::c_void, fmt, path::Path};

/// Part of a file path that only the source files of downloaded libraries have.
const REGISTRY: &str = "/registry/src/";

/// A source line in a call path.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Line {
    /// Name of the package that contains the line.
    package: String,
    /// Shortened path of the source file, and line number: `crates/domain/src/token.rs:7`.
    location: String,
    /// `true` if the line belongs to this project, and `false` if it belongs to a library.
    is_ours: bool,
}

/// Source lines that lead to a memory allocation: the innermost line of this project, and the lines
/// of the libraries that are called from there.
///
/// If consecutive lines belong to the same package, only the innermost line is kept. Lines of the
/// standard library and of the async runtime are left out.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CallPath {
    /// Lines of the call path, outermost first. If no line of the backtrace belongs to this
    /// project, all lines belong to libraries.
    lines: Vec<Line>,
}

impl CallPath {
    /// Builds the call path from the addresses of a backtrace. The innermost address comes first.
    pub(super) fn of(addresses: &[usize]) -> Self {
        let mut lines = Vec::<Line>::new();
        for line in addresses.iter().flat_map(|address| lines_at(*address)) {
            // Keeps only the innermost of consecutive lines of the same package.
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

    /// Returns the line of this project in the call path, or `None` if all lines belong to
    /// libraries.
    #[must_use]
    pub fn our_line(&self) -> Option<&str> {
        let first = self.lines.first().filter(|line| line.is_ours);
        first.map(|line| line.location.as_str())
    }
}

impl fmt::Display for CallPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut arrow = "";
        for line in &self.lines {
            write!(f, "{arrow}{}", line.location)?;
            arrow = " > ";
        }
        Ok(())
    }
}

/// Returns the source lines of a code address, innermost first. An address in an inlined function
/// has several source lines.
fn lines_at(address: usize) -> Vec<Line> {
    let mut lines = Vec::new();
    backtrace::resolve(address as *mut c_void, |symbol| {
        if let (Some(file), Some(number)) = (symbol.filename(), symbol.lineno()) {
            lines.extend(line(file, number));
        }
    });
    lines
}

/// Returns the source line `number` of `file`. Returns `None` if `file` is left out of call paths,
/// such as a file of the standard library.
fn line(file: &Path, number: u32) -> Option<Line> {
    let file = file.to_str()?;
    let Some((_, file)) = file.split_once(REGISTRY) else {
        let (_, file) = file.split_once("/crates/")?;
        return Some(Line {
            package: file.split('/').next()?.to_owned(),
            location: format!("crates/{file}:{number}"),
            is_ours: true,
        });
    };
    let (_index, file) = file.split_once('/')?;
    let (package, file) = file.split_once("/src/")?;
    // Removes the version from the name of the package folder: `actix-http-3.20.0` becomes
    // `actix-http`.
    let (package, _) = package.rsplit_once('-').unwrap_or((package, ""));
    let is_noise = match package {
        "backtrace" | "actix-rt" => true,
        "tokio" => file.starts_with("runtime/") || file.starts_with("loom/"),
        _ => false,
    };
    (!is_noise).then(|| Line {
        package: package.to_owned(),
        location: format!("{package}/{file}:{number}"),
        is_ours: false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn location_of(file: &str) -> Option<String> {
        line(Path::new(file), 7).map(|line| line.location)
    }

    #[test]
    fn call_path_shortens_file_paths_and_omits_std_and_the_async_runtime() {
        assert_eq!(
            location_of("/home/u/tee-session/crates/domain/src/token.rs").as_deref(),
            Some("crates/domain/src/token.rs:7")
        );
        assert_eq!(
            location_of("/home/u/.cargo/registry/src/index-1a/actix-http-3.20.0/src/h1/codec.rs")
                .as_deref(),
            Some("actix-http/h1/codec.rs:7")
        );
        assert_eq!(location_of("/rustc/abc/library/alloc/src/vec/mod.rs"), None);
        assert_eq!(
            location_of(
                "/home/u/.cargo/registry/src/index-1a/tokio-1.54.1/src/runtime/task/core.rs"
            ),
            None
        );
    }
}
