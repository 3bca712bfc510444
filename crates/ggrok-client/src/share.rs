//! `share`: makes, lists and revokes links, and shows them.

use std::process::ExitCode;

use ggrok_client::{Share, SharesError, printable, printable_json};

use crate::cli::{NewShareArgs, OwnerArgs, ShareAction, ShareArgs};
use crate::{FAILED, USAGE, connect_code, fail};

/// Does what is asked, and tells how it went.
pub(crate) async fn run(args: ShareArgs) -> ExitCode {
    match args.action {
        None => make(&args.new).await,
        Some(ShareAction::List(owner)) => list(&owner).await,
        Some(ShareAction::Revoke { id, owner }) => revoke(&id, &owner).await,
    }
}

async fn make(args: &NewShareArgs) -> ExitCode {
    let (shares, new) = match (args.owner.shares(), args.read()) {
        (Ok(shares), Ok(new)) => (shares, new),
        (Err(error), _) | (_, Err(error)) => return fail(&error, USAGE),
    };
    let share = match shares.make(&new).await {
        Ok(share) => share,
        Err(error) => return failed(error),
    };
    if args.owner.json {
        return show_json(&share);
    }
    println!("{}", printable(share.url.as_deref().unwrap_or_default()));
    eprintln!("{}", described(&share));
    if share.open == Some(true) {
        eprintln!(
            "Visitors come in without it as well: start the client with --links-only or --basic-auth."
        );
    }
    ExitCode::SUCCESS
}

async fn list(owner: &OwnerArgs) -> ExitCode {
    let shares = match owner.shares() {
        Ok(shares) => shares,
        Err(error) => return fail(&error, USAGE),
    };
    let shares = match shares.list().await {
        Ok(shares) => shares,
        Err(error) => return failed(error),
    };
    for share in &shares {
        if owner.json {
            show_json(share);
        } else {
            println!("{}", described(share));
        }
    }
    ExitCode::SUCCESS
}

async fn revoke(id: &str, owner: &OwnerArgs) -> ExitCode {
    let is_id = !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_alphanumeric());
    let shares = match owner.shares() {
        Ok(_) if !is_id => {
            let error =
                anyhow::anyhow!("that is no id of a link: `ggrok-client share list` shows them");
            return fail(&error, USAGE);
        }
        Ok(shares) => shares,
        Err(error) => return fail(&error, USAGE),
    };
    match shares.revoke(id).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => failed(error),
    }
}

fn failed(error: SharesError) -> ExitCode {
    let code = match &error {
        SharesError::Refused(_) => 4,
        SharesError::Unknown(_) => 3,
        SharesError::Connect(error) => connect_code(error),
    };
    fail(&error.into(), code)
}

fn show_json(share: &Share) -> ExitCode {
    match serde_json::to_string(share) {
        Ok(json) => {
            println!("{}", printable_json(&json));
            ExitCode::SUCCESS
        }
        Err(error) => fail(&error.into(), FAILED),
    }
}

/// A link on one line, without its secret.
fn described(share: &Share) -> String {
    let Share {
        id,
        host,
        path,
        expires,
        ..
    } = share;
    let uses = share
        .uses
        .map(|uses| format!("  used {} of {uses}", share.used));
    let line = format!(
        "{id}  {host}{path}  until {expires}{}",
        uses.unwrap_or_default()
    );
    printable(&line).into_owned()
}
