//! Warnings of secrets that others on this machine can read.

use std::path::Path;

use clap::ArgMatches;
use clap::parser::ValueSource;

/// Warnings of this command line and of the saved settings, each with what to do.
pub(super) fn warnings(matches: &ArgMatches, saved: Option<&Path>) -> Vec<String> {
    let secrets = [
        (
            "token",
            "--token",
            "GGROK_TOKEN, or save it with `ggrok-client login`",
        ),
        ("basic_auth", "--basic-auth", "GGROK_BASIC_AUTH"),
    ];
    let exposed = secrets
        .iter()
        .filter(|(id, ..)| is_on_command_line(matches, id));
    let exposed = exposed.map(|(_, flag, instead)| {
        format!(
            "{flag} is on the command line, where everybody on this machine can read it: give it in \
             {instead}"
        )
    });
    exposed.chain(saved.and_then(of_file)).collect()
}

/// Whether the value of a flag is among the arguments, of a subcommand too.
fn is_on_command_line(matches: &ArgMatches, id: &str) -> bool {
    let is_known = matches.try_contains_id(id).is_ok();
    let is_here = is_known && matches.value_source(id) == Some(ValueSource::CommandLine);
    let subcommand = matches.subcommand();
    is_here || subcommand.is_some_and(|(_, matches)| is_on_command_line(matches, id))
}

/// A warning of saved settings that others can read or change.
#[cfg(unix)]
fn of_file(path: &Path) -> Option<String> {
    use std::os::unix::fs::PermissionsExt;

    let mode = std::fs::metadata(path).ok()?.permissions().mode() & 0o777;
    let path = path.display();
    (mode & 0o066 != 0).then(|| {
        format!(
            "{path}, which may hold a token, has mode {mode:03o}: others on this machine can read or \
             change it: chmod 600 {path}"
        )
    })
}

#[cfg(not(unix))]
fn of_file(_: &Path) -> Option<String> {
    None
}
