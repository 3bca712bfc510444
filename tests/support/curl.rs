//! curl as a visitor, and what it leaves behind.

use std::collections::BTreeMap;
use std::env;
use std::fmt::{self, Display, Formatter};
use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::Path;

use tempfile::TempDir;
use tokio::process::Command;
use tokio::time::timeout;

use super::PATIENCE;

/// One run of curl or several, one after another in the same folder.
pub struct Curl<'a> {
    /// The host that is found at the address.
    pub host: &'a str,
    pub address: SocketAddr,
    /// Files that the runs may send. Standard input is `numbers.txt` of them.
    pub inputs: &'a Path,
}

/// All that can be seen of the runs: what curl said and printed, the heads of the responses, and
/// files.
#[derive(Default, PartialEq)]
pub struct Outcome(BTreeMap<String, Vec<u8>>);

impl Curl<'_> {
    /// Runs curl with these arguments for each of its runs.
    pub async fn run(&self, steps: &[Vec<&str>]) -> Outcome {
        let folder = TempDir::new().unwrap();
        for input in files(self.inputs) {
            let named = |argument: &&str| argument.contains(&input);
            if steps.iter().flatten().any(named) {
                fs::copy(self.inputs.join(&input), folder.path().join(&input)).unwrap();
            }
        }
        let mut outcome = Outcome::default();
        for (number, step) in steps.iter().enumerate() {
            let left = self.step(folder.path(), step).await;
            for (what, bytes) in left {
                outcome.0.insert(format!("{number} {what}"), bytes);
            }
        }
        for file in files(folder.path()) {
            let bytes = fs::read(folder.path().join(&file)).unwrap();
            outcome.0.insert(file, bytes);
        }
        outcome.without_boundaries()
    }

    async fn step(&self, folder: &Path, step: &[&str]) -> [(&'static str, Vec<u8>); 3] {
        let mut command = Command::new("curl");
        command
            .args(["--disable", "--silent", "--show-error"])
            .args(["--dump-header", HEADS, "--write-out", SAYING])
            .args([
                "--connect-to",
                &format!("{}:80:{}", self.host, self.address),
            ])
            .args(step)
            .current_dir(folder)
            .env_clear()
            .env("PATH", env::var_os("PATH").unwrap())
            .stdin(File::open(self.inputs.join("numbers.txt")).unwrap())
            .kill_on_drop(true);
        let output = timeout(PATIENCE, command.output()).await;
        let output = output.unwrap_or_else(|_| panic!("curl {step:?} did not end"));
        let output = output.unwrap();
        let mut said = output.stderr;
        said.extend_from_slice(output.status.to_string().as_bytes());
        let heads = folder.join(HEADS);
        let head = fs::read(&heads).unwrap_or_default();
        fs::remove_file(heads).ok();
        [
            ("said", said),
            ("printed", output.stdout),
            ("heads", normal(&head)),
        ]
    }
}

/// The file with the heads of a run's responses.
const HEADS: &str = "heads";

/// What curl says at the end of each transfer, where its errors go.
const SAYING: &str = "%{stderr}%{http_code} got %{size_download} %{content_type} \
    redirects %{num_redirects} connections %{num_connects} %{url_effective}\n";

impl Outcome {
    /// The status of each transfer, as curl says it.
    pub fn statuses(&self) -> String {
        let said = self.0.iter().filter(|(name, _)| name.ends_with("said"));
        let said: Vec<_> = said
            .map(|(_, said)| String::from_utf8_lossy(said))
            .collect();
        let transfers = said.iter().flat_map(|said| said.lines());
        let statuses = transfers
            .filter_map(|line| line.split_once(" got "))
            .map(|(status, _)| status);
        statuses.collect::<Vec<_>>().join(" ")
    }

    /// What is not the same in two outcomes, for people.
    pub fn differences(&self, other: &Self) -> String {
        let names = self.0.keys().chain(other.0.keys());
        let mut names: Vec<_> = names
            .filter(|name| self.0.get(*name) != other.0.get(*name))
            .collect();
        names.sort_unstable();
        names.dedup();
        let shown = names.iter().map(|name| {
            let [one, another] = [self, other].map(|outcome| Shown(outcome.0.get(*name)));
            format!("  {name}\n{one}  and not\n{another}")
        });
        shown.collect()
    }

    /// Multipart boundaries are made up for each message, so each is replaced by one word.
    fn without_boundaries(mut self) -> Self {
        let texts = self
            .0
            .values()
            .filter_map(|bytes| str::from_utf8(bytes).ok());
        let found = texts.flat_map(|text| text.split("boundary=").skip(1));
        let is_part = |letter: char| letter.is_ascii_alphanumeric() || letter == '-';
        let boundaries: Vec<String> = found
            .map(|rest| rest.chars().take_while(|letter| is_part(*letter)).collect())
            .collect();
        for bytes in self.0.values_mut() {
            for boundary in &boundaries {
                if let Ok(text) = str::from_utf8(bytes) {
                    *bytes = text.replace(boundary, "BOUNDARY").into_bytes();
                }
            }
        }
        self
    }
}

/// Heads as far as both ways have to agree on them: final responses, by status and not by version and
/// reason; fields in small letters and sorted, those of the same name as they came.
pub fn normal(heads: &[u8]) -> Vec<u8> {
    let text: String = heads.iter().map(|byte| char::from(*byte)).collect();
    let heads = text.split("\r\n\r\n").filter(|head| !head.is_empty());
    let heads = heads.filter(|head| !head.starts_with("HTTP/1.1 100"));
    let heads: Vec<String> = heads.map(normal_head).collect();
    heads.join("\n\n").into_bytes()
}

fn normal_head(head: &str) -> String {
    let mut lines = head.lines();
    let start = lines.next().unwrap();
    let start = match start.split(' ').collect::<Vec<_>>()[..] {
        [version, status, ..] if version.starts_with("HTTP/") => status,
        [method, target, _] => &start[..method.len() + 1 + target.len()],
        _ => start,
    };
    let fields = lines.map(|line| line.split_once(':').unwrap());
    let mut fields: Vec<_> = fields
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim()))
        .filter(|(name, _)| !OF_THE_WAY.contains(&&**name))
        .collect();
    fields.sort_by(|one, another| one.0.cmp(&another.0));
    let fields = fields
        .iter()
        .map(|(name, value)| format!("{name}: {value}"));
    [start.to_owned()]
        .into_iter()
        .chain(fields)
        .collect::<Vec<_>>()
        .join("\n")
}

/// Fields of the way and not of the message: a proxy sets or removes them. The relay answers to
/// Expect by itself.
const OF_THE_WAY: &[&str] = &[
    "connection",
    "date",
    "expect",
    "forwarded",
    "http2-settings",
    "keep-alive",
    "te",
    "transfer-encoding",
    "upgrade",
    "via",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-port",
    "x-forwarded-proto",
    "x-request-id",
];

/// The start of what is there, for people.
struct Shown<'a>(Option<&'a Vec<u8>>);

impl Display for Shown<'_> {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        let Some(bytes) = self.0 else {
            return writeln!(formatter, "    nothing");
        };
        let start = String::from_utf8_lossy(&bytes[..bytes.len().min(2000)]);
        for line in start.lines() {
            writeln!(formatter, "    {}", line.escape_debug())?;
        }
        writeln!(formatter, "    ({} bytes)", bytes.len())
    }
}

/// The names of the files in a folder.
fn files(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap().map(Result::unwrap);
    let files = entries.filter(|entry| entry.file_type().unwrap().is_file());
    files
        .map(|file| file.file_name().into_string().unwrap())
        .collect()
}
