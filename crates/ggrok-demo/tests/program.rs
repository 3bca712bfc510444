//! The demo does what the README says: it shows a page through the tunnel.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};

/// Ends the demo with the test, however that ends.
struct Demo(Child);

impl Drop for Demo {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

#[test]
fn shows_a_page_through_the_tunnel() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ggrok-demo"));
    let mut demo = Demo(command.stdout(Stdio::piped()).spawn().unwrap());
    let mut lines = BufReader::new(demo.0.stdout.take().unwrap()).lines();
    let address = lines
        .find_map(|line| {
            let line = line.unwrap();
            let url = line.strip_prefix("Open http://")?;
            url.split(' ').next().map(ToOwned::to_owned)
        })
        .unwrap();
    let mut visitor = TcpStream::connect(&address).unwrap();
    write!(
        visitor,
        "GET / HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n"
    )
    .unwrap();
    let mut answer = String::new();
    visitor.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    assert!(answer.contains("<h1>It works</h1>") && answer.contains(&address));
}
