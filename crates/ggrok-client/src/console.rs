//! What the person at the terminal, or the program behind the pipe, is shown.

use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::iter;
use std::sync::mpsc::{self, Receiver, SyncSender};
use std::thread;
use std::time::Duration;

use anstyle::{AnsiColor, Style};
use ggrok_client::{Event, printable, printable_json};
use http::{Method, StatusCode};
use serde_json::json;

/// Standard output, written by a thread of its own: a terminal that is held or a pipe that nobody
/// reads must not hold the tunnel. Then lines are lost, and nothing else.
pub(crate) struct Console {
    lines: SyncSender<String>,
    written: Receiver<()>,
}

impl Console {
    pub(crate) fn start() -> Self {
        let (lines, queued) = mpsc::sync_channel::<String>(QUEUE);
        let (done, written) = mpsc::channel();
        thread::spawn(move || {
            write(&queued);
            done.send(()).ok();
        });
        Self { lines, written }
    }

    /// Where lines can be put, without waiting.
    pub(crate) fn lines(&self) -> impl Fn(String) + Send + Sync + use<> {
        let lines = self.lines.clone();
        move |line| {
            lines.try_send(line).ok();
        }
    }

    /// Writes what is queued, for at most a second.
    pub(crate) fn finish(self) {
        drop(self.lines);
        self.written.recv_timeout(Duration::from_secs(1)).ok();
    }
}

/// Writes lines until no more can come. All that wait are one write, and while this thread rests no
/// line has to wake it: under load that would cost more than the call that the line is of.
fn write(queued: &Receiver<String>) {
    // The one that knows colours would look through every line for some.
    let mut stdout: Box<dyn io::Write> = if has_colours() {
        Box::new(anstream::stdout())
    } else {
        Box::new(io::stdout())
    };
    while let Ok(mut lines) = queued.recv() {
        lines.push('\n');
        for line in queued.try_iter().take(QUEUE) {
            lines.push_str(&line);
            lines.push('\n');
        }
        // Where standard output is closed there is nobody to tell.
        stdout.write_all(lines.as_bytes()).ok();
        stdout.flush().ok();
        thread::park_timeout(REST);
    }
}

/// Lines that may wait to be written.
const QUEUE: usize = 4096;

/// Shorter than anybody sees, and long enough to gather lines.
const REST: Duration = Duration::from_millis(20);

/// Whether colours are shown, and not written into a file.
pub(crate) fn has_colours() -> bool {
    anstream::AutoStream::choice(&io::stdout()) != anstream::ColorChoice::Never
}

/// An event as a line for a person, in colours or without.
pub(crate) fn text(event: &Event, colours: bool) -> String {
    let ink = |style: Style| if colours { style } else { Style::new() };
    match event {
        Event::Ready { url } => {
            let bold = ink(AnsiColor::Green.on_default().bold());
            format!("{bold}Ready{bold:#}  {}", printable(url))
        }
        Event::NotPublic { has_rules } => {
            let yellow = ink(AnsiColor::Yellow.on_default());
            let rules = if *has_rules {
                WITHOUT_RULES
            } else {
                OR_ANYBODYS
            };
            format!("{yellow}{NOT_PUBLIC}{rules}{yellow:#}")
        }
        Event::LocalDown { address } => {
            let yellow = ink(AnsiColor::Yellow.on_default());
            format!(
                "{yellow}Nothing answers at {address} yet; visitors are told so until it does.{yellow:#}"
            )
        }
        Event::HostRefused {
            check,
            host,
            remedy,
        } => {
            let yellow = ink(AnsiColor::Yellow.on_default());
            let (problem, host) = (check.problem(), printable(host));
            format!("{yellow}{problem} {host}: {remedy}.{yellow:#}")
        }
        Event::Connecting { to } => {
            let yellow = ink(AnsiColor::Yellow.on_default());
            format!("{yellow}Connecting to {} ...{yellow:#}", printable(to))
        }
        Event::Waiting {
            reason, retry_in, ..
        } => {
            let yellow = ink(AnsiColor::Yellow.on_default());
            let (reason, again) = (printable(reason), again(*retry_in));
            format!("{yellow}No tunnel: {reason}. {again}{yellow:#}")
        }
        Event::Finishing { at_most } => {
            let yellow = ink(AnsiColor::Yellow.on_default());
            let seconds = at_most.as_secs_f32();
            format!(
                "{yellow}Stopping. Visitors get their answers, for at most {seconds:.1} s; \
                 Ctrl-C again ends that.{yellow:#}"
            )
        }
        Event::Answered {
            method,
            path,
            status,
            elapsed,
            error,
            length,
            broken,
            ..
        } => {
            let left = || broken.map(|broken| broken.after(*length));
            let remark = error.clone().or_else(left);
            let style = ink(style(status.as_u16()));
            call(method, path, *status, *elapsed, remark.as_deref(), style)
        }
    }
}

/// When the relay is dialled again.
fn again(retry_in: Duration) -> String {
    match retry_in.as_secs() {
        0 => "Trying again now.".to_owned(),
        seconds => format!("Trying again in {seconds} s."),
    }
}

/// The line of an attempt that failed for the same reason as those before it.
pub(crate) fn still_waiting(
    reason: &str,
    attempts: u32,
    since: Duration,
    retry_in: Duration,
    colours: bool,
) -> String {
    let yellow = if colours {
        AnsiColor::Yellow.on_default()
    } else {
        Style::new()
    };
    let since = humantime::format_duration(Duration::from_secs(since.as_secs()));
    let (reason, again) = (printable(reason), again(retry_in));
    format!(
        "{yellow}Still no tunnel after {attempts} attempts in {since}: {reason}. {again}{yellow:#}"
    )
}

const NOT_PUBLIC: &str = "Visitors cannot open this address: the relay has no --domain. It is for the \
                          programs of its owner, which give the token";

/// There the relay's API refuses everybody, where there are rules.
const OR_ANYBODYS: &str = "; at a relay with --open for anybody's.";

const WITHOUT_RULES: &str = ". The rules for visitors (--basic-auth, --allow-cidr, --allow-path, \
                             --links-only) do not apply to them.";

/// The line of a call. There is one for every call, so what each has is put together without formatting.
fn call(
    method: &Method,
    path: &str,
    status: StatusCode,
    elapsed: Duration,
    remark: Option<&str>,
    style: Style,
) -> String {
    let mut digits = itoa::Buffer::new();
    let milliseconds = digits.format(whole_milliseconds(elapsed));
    let path = printable(path);
    let mut line = String::with_capacity(48 + path.len());
    line.push_str(method.as_str());
    push_spaces(
        &mut line,
        8_usize.saturating_sub(method.as_str().len()).max(1),
    );
    let is_plain = style == Style::new();
    // Writing to a string cannot fail.
    if !is_plain {
        write!(line, "{style}").ok();
    }
    line.push_str(status.as_str());
    if !is_plain {
        write!(line, "{style:#}").ok();
    }
    push_spaces(&mut line, 7_usize.saturating_sub(milliseconds.len()).max(1));
    line.push_str(milliseconds);
    line.push_str(" ms  ");
    line.push_str(&path);
    if let Some(remark) = remark {
        write!(line, "  ({})", printable(remark)).ok();
    }
    line
}

fn push_spaces(line: &mut String, count: usize) {
    line.extend(iter::repeat_n(' ', count));
}

fn style(status: u16) -> Style {
    let color = match status {
        500.. => AnsiColor::Red,
        400.. => AnsiColor::Yellow,
        300.. => AnsiColor::Cyan,
        _ => AnsiColor::Green,
    };
    color.on_default()
}

/// An event as a line for a program.
pub(crate) fn json(event: &Event) -> String {
    let object = match event {
        Event::Ready { url } => json!({ "event": "ready", "url": url }),
        Event::NotPublic { has_rules } => {
            json!({ "event": "not_public", "has_rules": has_rules })
        }
        Event::LocalDown { address } => {
            json!({ "event": "local_down", "address": address.to_string() })
        }
        Event::HostRefused {
            check,
            host,
            remedy,
        } => json!({
            "event": "host_refused",
            "check": check.to_string(),
            "host": host,
            "remedy": remedy,
        }),
        Event::Connecting { to } => json!({ "event": "connecting", "to": to }),
        Event::Waiting {
            reason,
            attempts,
            retry_in,
        } => json!({
            "event": "waiting",
            "attempts": attempts,
            "reason": reason,
            "retry_in_ms": whole_milliseconds(*retry_in),
        }),
        Event::Finishing { at_most } => {
            json!({ "event": "finishing", "at_most_ms": whole_milliseconds(*at_most) })
        }
        Event::Answered {
            method,
            path,
            status,
            elapsed,
            error,
            code,
            length,
            ..
        } => json!({
            "event": "request",
            "method": method.as_str(),
            "path": path,
            "status": status.as_u16(),
            "ms": whole_milliseconds(*elapsed),
            "error": error,
            "code": code,
            "bytes": length.bytes,
            "length": length.announced,
        }),
    };
    printable_json(&object.to_string()).into_owned()
}

fn whole_milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::{json, text};
    use ggrok_client::{BodyLength, Broken, Event, HostCheck, LocalAddress};
    use http::{Method, StatusCode};
    use std::collections::BTreeSet;
    use std::iter;
    use std::time::Duration;

    fn answered() -> Event {
        Event::Answered {
            method: Method::GET,
            path: "/a\u{9b}b".to_owned(),
            status: StatusCode::BAD_GATEWAY,
            elapsed: Duration::from_millis(12),
            error: Some("cannot connect".to_owned()),
            code: Some("local-unreachable"),
            length: BodyLength::default(),
            broken: None,
        }
    }

    #[test]
    fn tells_a_body_that_broke_off_from_one_that_came_whole() {
        let length = BodyLength {
            bytes: 5,
            announced: Some(500),
        };
        for (broken, error, remark) in [
            (None, None, ""),
            (
                Some(Broken::App),
                Some("broke off after 5 of 500 bytes"),
                "  (broke off after 5 of 500 bytes)",
            ),
            (
                Some(Broken::VisitorLeft),
                None,
                "  (visitor left after 5 of 500 bytes)",
            ),
        ] {
            let event = Event::Answered {
                method: Method::GET,
                path: "/".to_owned(),
                status: StatusCode::OK,
                elapsed: Duration::from_millis(12),
                error: error.map(ToOwned::to_owned),
                code: broken.map(Broken::code),
                length,
                broken,
            };
            let line = text(&event, false);
            assert_eq!(line, format!("GET     200     12 ms  /{remark}"));
            let value: serde_json::Value = serde_json::from_str(&json(&event)).unwrap();
            assert_eq!(value["code"].as_str(), broken.map(Broken::code));
            assert_eq!(value["error"].as_str(), error);
            assert_eq!(
                (&value["bytes"], &value["length"]),
                (&5.into(), &500.into())
            );
        }
    }

    #[test]
    fn shows_a_person_a_line_without_control_characters_of_a_visitor() {
        let line = text(&answered(), false);
        assert_eq!(line, "GET     502     12 ms  /a\u{fffd}b  (cannot connect)");
        let coloured = text(&answered(), true);
        assert_eq!(anstream::adapter::strip_str(&coloured).to_string(), line);
        assert_ne!(coloured, line);
    }

    #[test]
    fn says_whom_a_name_without_visitors_is_for() {
        for has_rules in [false, true] {
            let line = text(&Event::NotPublic { has_rules }, false);
            assert!(line.starts_with("Visitors cannot open this address"));
            assert!(line.contains("no --domain") && line.contains("the token"));
            assert_eq!(line.contains("--allow-cidr"), has_rules, "{line}");
        }
    }

    /// One of each kind.
    fn events() -> [Event; 8] {
        let time = Duration::from_millis(12);
        [
            Event::Ready { url: String::new() },
            Event::NotPublic { has_rules: true },
            Event::LocalDown {
                address: LocalAddress::port(1),
            },
            Event::HostRefused {
                check: HostCheck::Vite,
                host: String::new(),
                remedy: "",
            },
            answered(),
            Event::Finishing { at_most: time },
            Event::Connecting { to: String::new() },
            Event::Waiting {
                reason: String::new(),
                attempts: 1,
                retry_in: time,
            },
        ]
    }

    #[test]
    fn shows_a_program_what_is_documented() {
        let documented = include_str!("../../../docs/json.md");
        let rows = documented.lines().filter(|line| line.starts_with("| `"));
        // What stands in backquotes is every second part: the event, and then its members.
        let documented: BTreeSet<Vec<_>> = rows
            .map(|row| row.split('`').skip(1).step_by(2).map(ToOwned::to_owned))
            .map(Iterator::collect)
            .collect();
        let shown = events().map(|event| {
            let value: serde_json::Value = serde_json::from_str(&json(&event)).unwrap();
            let name = value["event"].as_str().unwrap().to_owned();
            let members = value.as_object().unwrap().keys();
            let members = members.filter(|member| *member != "event").cloned();
            iter::once(name).chain(members).collect()
        });
        assert_eq!(documented, BTreeSet::from(shown));
    }

    #[test]
    fn says_what_refused_which_host_and_what_helps() {
        let event = Event::HostRefused {
            check: HostCheck::Vite,
            host: "a.example\x1b".to_owned(),
            remedy: "do this",
        };
        let line = text(&event, false);
        assert_eq!(
            line,
            "Vite does not know the host a.example\u{fffd}: do this."
        );
        let line = json(&event);
        assert!(line.contains("do this") && !line.contains('\x1b'), "{line}");
    }

    #[test]
    fn shows_a_program_one_object_a_line() {
        let line = json(&answered());
        let value: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(value["event"], "request");
        assert_eq!(value["status"], 502);
        assert_eq!(value["ms"], 12);
        assert!(!line.contains('\n'));
    }

    #[test]
    fn shows_a_program_what_a_visitor_said_without_writing_it_to_its_terminal() {
        let line = json(&answered());
        let value: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(value["path"], "/a\u{9b}b");
        assert!(line.contains("/a\\u009bb") && line.is_ascii(), "{line}");
    }
}
