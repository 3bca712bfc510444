//! curl in its many shapes, against a server and against the same through the tunnel.

// On other systems nginx is not found on PATH, nor does Python have all packages.
#![cfg(target_os = "linux")]

use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;

use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio::process::Command;

use crate::support::{
    Curl, Origin, Outcome, Program, Published, Seen, Suites, eventually, installed, noise, normal,
};

#[tokio::test]
async fn curl_gets_the_same_files_through_the_tunnel() {
    if !installed("curl") || !installed("nginx") {
        return;
    }
    let nginx = Nginx::start().await;
    let ways = Ways::to("files.test", nginx.address).await;
    let mut differences = Vec::new();
    for shape in shapes(include_str!("curl/files.txt")) {
        differences.extend(ways.compare(&shape, &[]).await);
    }
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}

#[tokio::test]
async fn curl_gets_the_same_answers_through_the_tunnel() {
    if !installed("curl") {
        return;
    }
    let Some(suites) = Suites::find().await else {
        return;
    };
    let (_httpbin, address) = suites.httpbin().await;
    let ways = Ways::to("bin.test", address).await;
    // The relay tells this, and httpbin repeats it.
    let told = [
        "-H",
        "X-Forwarded-Host: bin.test",
        "-H",
        "Forwarded: for=127.0.0.1;host=bin.test;proto=http",
    ];
    let mut differences = Vec::new();
    for shape in shapes(include_str!("curl/answers.txt")) {
        differences.extend(ways.compare(&shape, &told).await);
    }
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}

#[tokio::test]
async fn a_server_gets_the_same_requests_of_curl_through_the_tunnel() {
    if !installed("curl") {
        return;
    }
    let origin = Origin::start(ok).await;
    let ways = Ways::to("echo.test", origin.address).await;
    let mut differences = Vec::new();
    for shape in shapes(include_str!("curl/requests.txt")) {
        let before = origin.seen().len();
        differences.extend(ways.compare(&shape, &[]).await);
        let seen: Vec<_> = origin.seen()[before..].iter().map(told).collect();
        let (direct, through) = seen.split_at(seen.len() / 2);
        if direct != through {
            let line = shape.line;
            differences.push(format!("{line}\n{direct:#?}\n  and not\n{through:#?}"));
        }
    }
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}

fn ok(request: &Seen) -> Vec<u8> {
    let body = if request.line().starts_with("HEAD ") {
        ""
    } else {
        "hi"
    };
    format!("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{body}").into_bytes()
}

/// What a request says, whichever way it came.
fn told(request: &Seen) -> (String, Vec<u8>) {
    let bytes: Vec<u8> = request.head.chars().map(|letter| letter as u8).collect();
    let head = String::from_utf8(normal(&bytes)).unwrap();
    (head, request.body.clone())
}

/// Something that curl is told to do.
struct Shape<'a> {
    line: &'a str,
    /// What it has to say.
    statuses: &'a str,
    /// The arguments of each of its runs.
    steps: Vec<Vec<&'a str>>,
}

/// Reads a table of shapes, one a line: the statuses, and the arguments, where a lone `;` begins
/// another run.
fn shapes(table: &str) -> impl Iterator<Item = Shape<'_>> {
    let lines = table.lines().filter(|line| !line.starts_with('#'));
    lines.map(|line| {
        let (statuses, runs) = line.split_once(": ").unwrap();
        let steps = runs
            .split(" ; ")
            .map(|run| run.split_whitespace().collect());
        Shape {
            line,
            statuses,
            steps: steps.collect(),
        }
    })
}

/// The way to a server, and the way through the tunnel.
struct Ways<'a> {
    host: &'a str,
    inputs: TempDir,
    local: SocketAddr,
    published: Published,
}

impl<'a> Ways<'a> {
    async fn to(host: &'a str, local: SocketAddr) -> Self {
        let mut published = Published::nothing().await;
        published.show_at(host, local).await;
        let inputs = TempDir::new().unwrap();
        write_inputs(inputs.path());
        Self {
            host,
            inputs,
            local,
            published,
        }
    }

    /// Runs curl both ways, and tells what is not the same. On the direct one it says in addition
    /// what the relay would.
    async fn compare(&self, shape: &Shape<'_>, told: &[&str]) -> Option<String> {
        let mut steps = shape.steps.clone();
        for step in &mut steps {
            step.extend(told);
        }
        let direct = self.run(self.local, &steps).await;
        let through = self.run(self.published.relay.address, &shape.steps).await;
        let line = shape.line;
        let statuses = direct.statuses();
        if statuses != shape.statuses {
            return Some(format!("{line}\n  has {statuses}"));
        }
        let differences = direct.differences(&through);
        (!differences.is_empty()).then(|| format!("{line}\n{differences}"))
    }

    async fn run(&self, address: SocketAddr, steps: &[Vec<&str>]) -> Outcome {
        let curl = Curl {
            host: self.host,
            address,
            inputs: self.inputs.path(),
        };
        curl.run(steps).await
    }
}

/// Writes the files that curl sends, and gets.
fn write_inputs(folder: &Path) {
    let write = |name: &str, bytes: &[u8]| fs::write(folder.join(name), bytes).unwrap();
    write("noise.bin", &noise(5_000_000));
    let numbers: Vec<String> = (0..20_000).map(|number| number.to_string()).collect();
    write("numbers.txt", numbers.join("\n").as_bytes());
    write("words.txt", "Gr\u{fc}\u{df}e & 100 %=?+\n".as_bytes());
    write("empty.txt", b"");
    let fields: Vec<String> = (0..100)
        .map(|number| format!("X-{number}: {number}\n"))
        .collect();
    write("fields.txt", fields.concat().as_bytes());
}

/// An nginx before a folder of files.
struct Nginx {
    address: SocketAddr,
    _program: Program,
    _folder: TempDir,
}

impl Nginx {
    async fn start() -> Self {
        let folder = TempDir::new().unwrap();
        write_files(&folder.path().join("files"));
        let address = free_address();
        let conf = include_str!("curl/nginx.conf").replace("ADDRESS", &address.to_string());
        fs::write(folder.path().join("nginx.conf"), conf).unwrap();
        let mut nginx = Command::new("nginx");
        nginx
            .arg("-p")
            .arg(folder.path())
            .args(["-c", "nginx.conf"]);
        let program = Program::start(&mut nginx);
        eventually("nginx listens", async || {
            TcpStream::connect(address).await.ok()
        })
        .await;
        Self {
            address,
            _program: program,
            _folder: folder,
        }
    }
}

fn write_files(files: &Path) {
    fs::create_dir_all(files.join("uploads/small")).unwrap();
    fs::create_dir(files.join("folder")).unwrap();
    write_inputs(files);
    let write = |name: &str, text: &str| fs::write(files.join(name), text).unwrap();
    write("index.html", "<h1>hello</h1>");
    write("caf\u{e9} & 100%?#.txt", "odd");
    write("folder/index.html", "<h1>folder</h1>");
    for number in 1..=9 {
        write(&format!("folder/{number}.txt"), &number.to_string());
    }
}

/// nginx takes no port that it chooses by itself.
fn free_address() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap()
}
