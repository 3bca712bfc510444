//! Several owners, each with a token of their own.

use ggrok_server::{Access, Authenticate, Config, Denied, Grant, Owner, take_token};
use http::request::Parts;

/// Whoever has the token `k-NAME` is the owner NAME, who may have the hosts in NAME.example.
pub struct Owners;

impl Authenticate for Owners {
    async fn authenticate(&self, request: &mut Parts) -> Result<Grant, Denied> {
        let token = take_token(&mut request.headers).ok_or(Denied::NoToken)?;
        let token = token.to_str().map_err(|_| Denied::WrongToken)?;
        let owner = token.strip_prefix("k-").ok_or(Denied::WrongToken)?;
        let hosts = format!("*.{owner}.example").parse().unwrap();
        Ok(Grant::new(Owner::new(owner)).with_hosts(vec![hosts]))
    }
}

/// Lets in several owners.
pub fn owners(config: &mut Config) {
    config.access = Access::by(Owners);
}
