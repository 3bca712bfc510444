//! Command lines of other tunnels, as people type them who come from there.

use std::ffi::OsString;

use clap::CommandFactory;
use ggrok_client::LocalAddress;

use super::Cli;

/// Rewrites words that mean one thing here without doubt: `http 3000` of ngrok, `tunnel --url ADDRESS` of
/// cloudflared, `local 3000 --to HOST` of bore.
///
/// # Errors
/// What to type in place of what this client does not have.
pub(crate) fn translate(mut args: Vec<OsString>) -> Result<Vec<OsString>, String> {
    if let Some(at) = first_word(&args) {
        let word = args[at].to_string_lossy().into_owned();
        if let Some((_, hint)) = WORDS.iter().find(|(known, _)| *known == word) {
            return Err((*hint).to_owned());
        }
        if ["http", "tunnel", "local"].contains(&word.as_str()) {
            args.remove(at);
            let is_tunnel = word == "tunnel";
            if !is_tunnel && first_word(&args).is_none() && !names_local(&args) {
                return Err(format!(
                    "{word} of which port? This client needs no {word}: ggrok-client 3000"
                ));
            }
        }
    }
    for at in 1..args.len() {
        let Some(arg) = args[at].to_str() else {
            continue;
        };
        if arg == "--" {
            break;
        }
        let (flag, value) = match arg.split_once('=') {
            Some((flag, value)) => (flag, Some(value)),
            None => (arg, args.get(at + 1).and_then(|value| value.to_str())),
        };
        if flag == "--url" && value.is_some_and(is_local) {
            let local = arg.replacen("--url", "--local", 1);
            args[at] = local.into();
        } else if let Some((_, hint)) = FLAGS.iter().find(|(known, _)| *known == flag) {
            return Err(format!("{flag} is not known here: {hint}"));
        }
    }
    Ok(args)
}

/// Words by which other tunnels begin, and what to do here.
const WORDS: [(&str, &str); 7] = [
    ("https", NO_TLS),
    ("tcp", ONLY_HTTP),
    ("tls", ONLY_HTTP),
    ("udp", ONLY_HTTP),
    ("ssh", ONLY_HTTP),
    (
        "authtoken",
        "a token is saved with its relay: ggrok-client login HOST",
    ),
    (
        "start",
        "this client has no tunnels in a file: start one for each port, like ggrok-client 3000",
    ),
];

const ONLY_HTTP: &str = "this client carries HTTP and WebSockets, and no other TCP or UDP: give the port of \
                         a web server, like ggrok-client 3000";

const NO_TLS: &str = "TLS to the local server is not supported: give a port where it answers HTTP, like \
                      ggrok-client 3000. Visitors come by https:// where the relay has TLS";

/// Flags of other tunnels that are none of ours, and what is.
const FLAGS: [(&str, &str); 8] = [
    (
        "--region",
        "there are no regions, and the relay is the one that --server HOST names",
    ),
    (
        "--url",
        "the public address is chosen by --name NAME or --host HOST, and the local server by --local ADDRESS",
    ),
    (
        "--local-host",
        "give host and port in one, like --local 192.168.1.5:3000",
    ),
    (
        "--local-https",
        "TLS to the local server is not supported; give a port where it answers HTTP",
    ),
    ("--auth", "use --basic-auth USER:PASSWORD"),
    ("--cidr-allow", "use --allow-cidr NETWORK"),
    ("--request-header-add", "fields cannot be added"),
    (
        "--config",
        "the file is the one that the variable GGROK_CONFIG names; `ggrok-client config path` prints it",
    ),
];

/// Whether a flag says where the local server is.
fn names_local(args: &[OsString]) -> bool {
    args.iter().any(|arg| {
        let arg = arg.to_string_lossy();
        let flag = arg.split('=').next().unwrap_or_default();
        ["--port", "-p", "--local", "--url"].contains(&flag)
    })
}

/// Whether an address is one of this machine, and no public one.
fn is_local(typed: &str) -> bool {
    let address = typed.parse::<LocalAddress>();
    address.is_ok_and(|address| address.is_loopback())
}

/// Where the first word is that is neither a flag nor the value of one.
fn first_word(args: &[OsString]) -> Option<usize> {
    let command = Cli::command();
    let takes_value = |flag: &str| {
        let mut flags = command.get_arguments();
        flags.any(|arg| {
            let long = flag.strip_prefix("--");
            let is_long = long.is_some_and(|long| {
                arg.get_long() == Some(long)
                    || arg.get_all_aliases().is_some_and(|all| all.contains(&long))
            });
            let short = flag.strip_prefix('-').and_then(|short| short.parse().ok());
            let is_it = is_long || short.is_some() && arg.get_short() == short;
            is_it && arg.get_action().takes_values()
        }) || flag == "--url"
    };
    let mut at = 1;
    while let Some(arg) = args.get(at) {
        let arg = arg.to_string_lossy();
        if !arg.starts_with('-') {
            return Some(at);
        }
        if arg == "--" {
            return None;
        }
        at += if takes_value(&arg) { 2 } else { 1 };
    }
    None
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;

    use super::translate;

    fn translated(line: &str) -> Result<String, String> {
        let args = std::iter::once("ggrok-client").chain(line.split_whitespace());
        let args = translate(args.map(OsString::from).collect())?;
        let args: Vec<_> = args[1..].iter().map(|arg| arg.to_str().unwrap()).collect();
        Ok(args.join(" "))
    }

    #[test]
    fn takes_the_command_lines_of_other_tunnels() {
        for (line, ours) in [
            ("http 3000", "3000"),
            ("http localhost:3000", "localhost:3000"),
            ("http 8080 --subdomain x", "8080 --subdomain x"),
            ("--server a.example http 3000", "--server a.example 3000"),
            ("-s a.example --json http 3000", "-s a.example --json 3000"),
            ("http --name http 3000", "--name http 3000"),
            ("http -p 3000", "-p 3000"),
            (
                "tunnel --url http://localhost:3000",
                "--local http://localhost:3000",
            ),
            ("tunnel --url=localhost:3000", "--local=localhost:3000"),
            ("local 3000 --to a.example", "3000 --to a.example"),
            ("3000 --name http", "3000 --name http"),
            ("login a.example", "login a.example"),
            ("3000", "3000"),
            ("", ""),
        ] {
            assert_eq!(translated(line), Ok(ours.to_owned()), "{line}");
        }
    }

    #[test]
    fn says_what_to_type_in_place_of_what_there_is_not() {
        for (line, says) in [
            ("http", "ggrok-client 3000"),
            ("http --server a.example", "ggrok-client 3000"),
            ("tcp 22", "no other TCP"),
            ("--server a.example tcp 22", "no other TCP"),
            ("https 3000", "TLS to the local server"),
            ("authtoken s3cret", "ggrok-client login HOST"),
            ("http 3000 --region eu", "--server HOST"),
            ("http 3000 --region=eu", "--server HOST"),
            (
                "http 80 --url https://app.example",
                "--name NAME or --host HOST",
            ),
            (
                "-p 3000 --local-host 192.168.1.5",
                "--local 192.168.1.5:3000",
            ),
            ("3000 --auth ana:pass", "--basic-auth"),
        ] {
            let error = translated(line).unwrap_err();
            assert!(error.contains(says), "{line}: {error}");
            assert!(!error.contains("s3cret"), "{error}");
        }
    }
}
