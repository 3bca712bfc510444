//! What an operator should mend, told once when the relay starts.

use std::path::Path;

use clap::ArgMatches;
use clap::parser::ValueSource;
use ggrok_server::Tokens;

use super::RelayArgs;

/// Warnings of settings by which others get at secrets, each with what to do.
pub(crate) fn warnings(args: &RelayArgs, matches: &ArgMatches) -> Vec<String> {
    let on_command_line = |id: &str| matches.value_source(id) == Some(ValueSource::CommandLine);
    let secrets = [
        ("--token", "token", "GGROK_TOKEN", args.access.token()),
        (
            "--metrics-token",
            "metrics_token",
            "GGROK_METRICS_TOKEN",
            args.operator.metrics_token(),
        ),
    ];
    let mut warnings = Vec::new();
    for (flag, id, variable, token) in secrets {
        let Some(token) = token else { continue };
        if on_command_line(id) {
            warnings.push(format!(
                "{flag} is on the command line, where everybody on this machine can read it: give it \
                 in {variable} instead"
            ));
        }
        if Tokens::is_weak(token) {
            warnings.push(format!(
                "the token of {flag} ({variable}) can be guessed: take a random one of 32 characters \
                 or more, for example of `openssl rand -hex 32`"
            ));
        }
    }
    warnings.extend(args.access.file().and_then(|path| of_file(path)));
    let metrics = args.operator.metrics_listen;
    if let Some(address) = metrics.filter(|address| !address.ip().is_loopback()) {
        warnings.push(format!(
            "--metrics-listen {address} serves the metrics without a token to whoever reaches it: \
             listen on 127.0.0.1, or let a firewall keep others out"
        ));
    }
    warnings
}

/// A warning of a file of tokens that others can change or read.
#[cfg(unix)]
fn of_file(path: &Path) -> Option<String> {
    use std::os::unix::fs::PermissionsExt;

    let mode = std::fs::metadata(path).ok()?.permissions().mode() & 0o777;
    let can = match mode {
        _ if mode & 0o022 != 0 => "change it, and register whatever they like",
        _ if mode & 0o044 != 0 => "read it, and guess weak tokens by their digests",
        _ => return None,
    };
    let path = path.display();
    Some(format!(
        "--tokens-file {path} has mode {mode:03o}: others on this machine can {can}: chmod 600 {path}"
    ))
}

#[cfg(not(unix))]
fn of_file(_: &Path) -> Option<String> {
    None
}
