//! What the kernel knows of this process, under the names that all clients of Prometheus use.

use std::{fmt::Write, fs, str::FromStr};

/// Ticks a second in what Linux tells to programs, whatever its own clock does.
const TICKS: f64 = 100.0;

/// Adds what is known now in the text format. Where there is no `/proc`, that is nothing.
///
/// The recorder is not asked: its counters are whole numbers, and seconds of processor time are not.
pub(crate) fn append_to(text: &mut String) {
    let stat = read("/proc/self/stat");
    // After the name of the program, which may hold anything.
    let stat = stat.rsplit_once(')').map_or("", |(_, fields)| fields);
    let mut fields = stat.split_ascii_whitespace();
    let user: Option<f64> = number(fields.nth(11));
    let system: Option<f64> = number(fields.next());
    let started: Option<f64> = number(fields.nth(6));
    let status = read("/proc/self/status");
    let booted: Option<f64> = number(field(&read("/proc/stat"), "btime"));
    let limits = read("/proc/self/limits");
    let descriptors = fs::read_dir("/proc/self/fd");
    let metrics = [
        (
            "process_cpu_seconds_total",
            "counter",
            "Processor time of the process, user and system",
            user.zip(system)
                .map(|(user, system)| (user + system) / TICKS),
        ),
        (
            "process_resident_memory_bytes",
            "gauge",
            "Memory of the process that is in use",
            number(field(&status, "VmRSS:")).map(|size: f64| size * 1024.0),
        ),
        (
            "process_virtual_memory_bytes",
            "gauge",
            "Address space of the process",
            number(field(&status, "VmSize:")).map(|size: f64| size * 1024.0),
        ),
        (
            "process_open_fds",
            "gauge",
            "File descriptors of the process that are open",
            // The one that is read is open only now.
            descriptors.ok().map(|open| open.count() as f64 - 1.0),
        ),
        (
            "process_max_fds",
            "gauge",
            "File descriptors that the process may have open",
            number(field(&limits, "Max open files")),
        ),
        (
            "process_start_time_seconds",
            "gauge",
            "When the process started, in seconds since 1970",
            booted
                .zip(started)
                .map(|(booted, started)| booted + started / TICKS),
        ),
    ];
    for (name, kind, help, value) in metrics {
        if let Some(value) = value {
            let _ = write!(
                text,
                "# HELP {name} {help}\n# TYPE {name} {kind}\n{name} {value}\n"
            );
        }
    }
}

fn read(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

/// The first word after `name` in the line that begins with it.
fn field<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let rest = text.lines().find_map(|line| line.strip_prefix(name))?;
    rest.split_ascii_whitespace().next()
}

fn number<T: FromStr>(text: Option<&str>) -> Option<T> {
    text?.parse().ok()
}

#[cfg(test)]
#[cfg(target_os = "linux")]
mod tests {
    use super::*;

    fn value(name: &str) -> f64 {
        let mut text = String::new();
        append_to(&mut text);
        number(field(&text, &format!("{name} "))).unwrap()
    }

    #[test]
    fn processor_time_grows_with_work() {
        let before = value("process_cpu_seconds_total");
        while value("process_cpu_seconds_total") < before + 0.02 {}
    }

    #[test]
    fn open_descriptors_are_counted_within_their_limit() {
        let files: Vec<_> = (0..50)
            .map(|_| fs::File::open("/dev/null").unwrap())
            .collect();
        let open = value("process_open_fds");
        assert!(open >= files.len() as f64, "{open}");
        assert!(open <= value("process_max_fds"));
    }

    #[test]
    fn memory_and_start_are_what_a_test_can_have() {
        let resident = value("process_resident_memory_bytes");
        assert!((1e6..1e9).contains(&resident), "{resident}");
        assert!(resident <= value("process_virtual_memory_bytes"));
        let boot: f64 = number(field(&read("/proc/stat"), "btime")).unwrap();
        let up: f64 = number(read("/proc/uptime").split(' ').next()).unwrap();
        let age = boot + up - value("process_start_time_seconds");
        assert!((-2.0..3_600.0).contains(&age), "{age}");
    }
}
