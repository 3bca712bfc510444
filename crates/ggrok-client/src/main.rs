//! The client's program: reads settings, runs the tunnel until a signal, shows what happens.

mod cli;
mod console;
mod open_files;
mod settings;
mod share;
mod shown;
mod signals;
mod waiting;

use std::env;
use std::io::{self, IsTerminal};
use std::process::ExitCode;

use anyhow::Context;
use ggrok_client::{ConnectError, Event, RunError};
use tokio::runtime::Builder;
use tokio_util::sync::CancellationToken;
use tracing::level_filters::LevelFilter;
use tracing_appender::non_blocking::WorkerGuard;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use crate::cli::{Cli, Command, ConfigAction, Key, TunnelArgs};
use crate::console::Console;
use crate::settings::Settings;
use crate::shown::without_passwords;
use crate::signals::Signals;
use crate::waiting::Shown;

// Large bodies and bursts of calls cost less than with the system's: docs/speed.md.
#[cfg(all(feature = "jemalloc", not(any(windows, target_env = "musl"))))]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    let args = match cli::translate(cli::with_two_dashes(env::args_os())) {
        Ok(args) => args,
        Err(hint) => return fail(&anyhow::anyhow!(hint), USAGE),
    };
    let (cli, warnings) = match Cli::read(args.into_iter()) {
        Ok(read) => read,
        Err(error) => return usage(&error),
    };
    // A tunnel logs them.
    let is_tunnel = cli.command.is_none() && cli.tunnel.proxy_server.is_none();
    for warning in warnings.iter().filter(|_| !is_tunnel) {
        eprintln!("ggrok-client: {warning}");
    }
    let result = match (cli.command, &cli.tunnel.proxy_server) {
        (Some(Command::Login { server, token }), _) => login(server, token),
        (Some(Command::Share(args)), _) => return run(1, share::run(*args)),
        (Some(Command::Config { action }), _) => config(action.unwrap_or(ConfigAction::Show)),
        (None, Some(server)) => save_server(server.clone()),
        (None, None) => return run(cli.tunnel.limits.workers(), tunnel(&cli.tunnel, &warnings)),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&error, FAILED),
    }
}

/// Runs on so many threads. One alone need never wake another.
fn run(workers: usize, program: impl Future<Output = ExitCode>) -> ExitCode {
    let mut builder = match workers {
        1 => Builder::new_current_thread(),
        _ => Builder::new_multi_thread(),
    };
    let runtime = builder.worker_threads(workers).enable_all().build();
    match runtime.context("cannot start as many threads as --workers says") {
        Ok(runtime) => {
            let ended = runtime.block_on(program);
            // Its drop would wait for the system's look-up of a name, which nothing can cancel.
            runtime.shutdown_background();
            ended
        }
        Err(error) => fail(&error, FAILED),
    }
}

const FAILED: u8 = 1;
const USAGE: u8 = 2;

fn fail(error: &anyhow::Error, code: u8) -> ExitCode {
    eprintln!("ggrok-client: {}", without_passwords(&format!("{error:#}")));
    code.into()
}

/// Shows help, or what is wrong with the arguments. It quotes them, and a URL may hold a password.
fn usage(error: &clap::Error) -> ExitCode {
    let text = error.to_string();
    if !(error.use_stderr() && text.contains('@')) {
        error.exit();
    }
    eprint!("{}", without_passwords(&text));
    USAGE.into()
}

async fn tunnel(args: &TunnelArgs, warnings: &[String]) -> ExitCode {
    let _log = start_log(args.log_level);
    let (config, signals) = match (args.config(), Signals::listen()) {
        (Ok(config), Ok(signals)) => (config, signals),
        (Err(error), _) => return fail(&error, USAGE),
        (_, Err(error)) => return fail(&error.into(), FAILED),
    };
    let in_the_clear = cli::token_warning(&config.relay, config.token.as_ref());
    for warning in warnings.iter().chain(&in_the_clear) {
        tracing::warn!("{warning}");
    }
    open_files::raise(config.limits.calls + OTHER_FILES);
    let console = Console::start();
    let print = console.lines();
    let (as_json, colours) = (args.json, console::has_colours());
    let shown = Shown::new(colours);
    let observer = move |event: Event| {
        let line = if as_json {
            Some(console::json(&event))
        } else {
            shown.line(&event)
        };
        if let Some(line) = line {
            print(line);
        }
    };
    let stop = CancellationToken::new();
    let ended = tokio::select! {
        ended = ggrok_client::run(config, observer, stop.cancelled()) => ended,
        () = signals.watch(&stop) => Ok(()),
    };
    console.finish();
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let code = exit_code(&error);
            fail(&error.into(), code)
        }
    }
}

/// Files besides a connection to the local server for each call: those to the relay, idle ones, the log.
const OTHER_FILES: usize = 320;

const fn exit_code(error: &RunError) -> u8 {
    match error {
        RunError::Connect(error) => connect_code(error),
        RunError::Replaced | RunError::Removed => 6,
    }
}

const fn connect_code(error: &ConnectError) -> u8 {
    match error {
        ConnectError::NoRelay(_) => 3,
        ConnectError::Refused(_)
        | ConnectError::TurnedAway(_)
        | ConnectError::NotRegistered(_)
        | ConnectError::OwnHostAlone(_)
        | ConnectError::RulesNotKept => 4,
        ConnectError::Certificate(_) | ConnectError::Roots(_) | ConnectError::NotTls(_) => 5,
        _ => FAILED,
    }
}

fn login(server: String, token: Option<String>) -> anyhow::Result<()> {
    cli::relay_address(&server)?;
    let token = ask_unless(token)?;
    save(|saved| {
        saved.server = Some(server);
        saved.token = token;
    })
}

fn config(action: ConfigAction) -> anyhow::Result<()> {
    match action {
        ConfigAction::Path => println!("{}", settings::path()?.display()),
        ConfigAction::Show => {
            let saved = Settings::load()?;
            let server = saved.server.as_deref().unwrap_or("(none)");
            println!("server = {}", without_passwords(server));
            println!("token = {}", saved.token.map_or("(none)", |_| "(saved)"));
        }
        ConfigAction::Set {
            key: Key::Server,
            value,
        } => {
            let server = value.context("give the relay, like: config set server relay.example.com");
            save_server(server?)?;
        }
        ConfigAction::Set {
            key: Key::Token,
            value,
        } => {
            let server = Settings::load()?.server;
            let server = server.context("whose token? Save both: ggrok-client login HOST")?;
            let token = ask_unless(value)?;
            save(|saved| {
                // The one of ~/.ggrok, which others may change, is from here on our own too.
                saved.server = Some(server);
                saved.token = token;
            })?;
        }
        ConfigAction::Unset { key: Key::Server } => change_server(None)?,
        ConfigAction::Unset { key: Key::Token } => save(|saved| saved.token = None)?,
    }
    Ok(())
}

/// The token that was given, or asked for: without an echo at a terminal, else as a line of
/// standard input. None where the line is empty.
fn ask_unless(token: Option<String>) -> anyhow::Result<Option<String>> {
    let token = match token {
        Some(token) => token,
        None if io::stdin().is_terminal() => {
            rpassword::prompt_password("Token (empty for none): ")?
        }
        None => {
            let mut line = String::new();
            io::stdin().read_line(&mut line)?;
            line
        }
    };
    let token = token.trim();
    Ok((!token.is_empty()).then(|| token.to_owned()))
}

fn save_server(server: String) -> anyhow::Result<()> {
    cli::relay_address(&server)?;
    change_server(Some(server))
}

fn change_server(server: Option<String>) -> anyhow::Result<()> {
    let mut forgot = false;
    save(|saved| forgot = saved.set_server(server))?;
    if forgot {
        eprintln!(
            "ggrok-client: the saved token was another relay's, and is forgotten; save one with its \
             relay: ggrok-client login HOST"
        );
    }
    Ok(())
}

fn save(change: impl FnOnce(&mut Settings)) -> anyhow::Result<()> {
    let path = settings::path()?;
    Settings::change(&path, change)?;
    println!("Saved in {}", path.display());
    Ok(())
}

/// Starts the log, which a thread of its own writes, as the console is.
fn start_log(level: LevelFilter) -> WorkerGuard {
    let (stderr, guard) = tracing_appender::non_blocking(io::stderr());
    // Libraries below have their say only when something is wrong: their debug lines show fields
    // of requests.
    let ours = Targets::new()
        .with_default(level.min(LevelFilter::WARN))
        // h2 warns of what a peer does wrong, once for each frame.
        .with_target("h2", level.min(LevelFilter::ERROR))
        .with_target("ggrok", level);
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(stderr)
        .with_ansi(io::stderr().is_terminal());
    tracing_subscriber::registry().with(ours).with(lines).init();
    guard
}

#[cfg(test)]
mod tests {
    use super::run;
    use std::process::ExitCode;
    use std::sync::mpsc;
    use std::thread;
    use std::time::Duration;
    use tokio::sync::oneshot;
    use tokio::task::spawn_blocking;

    #[test]
    fn ends_while_the_system_still_looks_up_a_name() {
        for workers in [1, 2] {
            let (answer, answered) = mpsc::channel::<()>();
            let (ended, has_ended) = mpsc::channel();
            thread::spawn(move || {
                let code = run(workers, async {
                    let (begin, begun) = oneshot::channel();
                    spawn_blocking(move || {
                        begin.send(()).ok();
                        answered.recv().ok();
                    });
                    begun.await.ok();
                    ExitCode::SUCCESS
                });
                ended.send(code).ok();
            });
            let code = has_ended.recv_timeout(Duration::from_secs(10));
            assert_eq!(code, Ok(ExitCode::SUCCESS), "with {workers}");
            drop(answer);
        }
    }
}
