//! One client's tunnel, as the relay and the app that embeds it know it.

use std::fmt;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use bytes::Bytes;
use ggrok_protocol::{Account, CallError, Dialect, Ending, TunnelBody, remove_hop_by_hop};
use http::uri::PathAndQuery;
use http::{Extensions, Request, Response, Uri, request};
use http_body::Body;

use crate::gate::Door;
use crate::host::Host;
use crate::limits::calls::Capacity;
use crate::place::Place;
use crate::seen::Seen;
use crate::{Grant, MirrorName, Owner};

/// One client's tunnel. Clones are the same tunnel.
#[derive(Clone)]
pub struct Tunnel(Arc<Inner>);

struct Inner {
    line: ggrok_protocol::Tunnel,
    registered: Registered,
    calls: AtomicU64,
    data: Mutex<Extensions>,
}

/// How a client registered.
#[derive(Debug)]
pub(crate) struct Registered {
    pub(crate) grant: Grant,
    /// The first is the one that it goes by.
    pub(crate) places: Vec<Place>,
    pub(crate) dialect: Dialect,
    pub(crate) peer: Option<IpAddr>,
    pub(crate) since: SystemTime,
    pub(crate) seen: Seen,
    /// Calls at a time.
    pub(crate) most_calls: usize,
    /// Where memory is reserved for calls of the app that embeds the relay.
    pub(crate) account: Account,
    /// What its visitors have to meet; nothing lets in everybody.
    pub(crate) door: Option<Arc<Door>>,
}

impl Tunnel {
    pub(crate) fn new(line: ggrok_protocol::Tunnel, registered: Registered) -> Self {
        Self(Arc::new(Inner {
            line,
            registered,
            calls: AtomicU64::new(0),
            data: Mutex::default(),
        }))
    }

    /// Whose it is.
    #[must_use]
    pub fn owner(&self) -> &Owner {
        self.0.registered.grant.owner()
    }

    /// Its name, where it is a mirror.
    #[must_use]
    pub fn name(&self) -> Option<&MirrorName> {
        self.places().iter().find_map(|place| match place {
            Place::Mirror(_, name) => Some(name),
            Place::Host(_) => None,
        })
    }

    /// The host whose visitors it serves, where it serves one.
    #[must_use]
    pub fn host(&self) -> Option<&Host> {
        self.places().iter().find_map(|place| match place {
            Place::Host(host) => Some(host),
            Place::Mirror(..) => None,
        })
    }

    /// What is spoken over it.
    #[must_use]
    pub fn dialect(&self) -> Dialect {
        self.0.registered.dialect
    }

    /// Where its client connected from, as far as the relay saw.
    #[must_use]
    pub fn peer(&self) -> Option<IpAddr> {
        self.0.registered.peer
    }

    /// When its client registered.
    #[must_use]
    pub fn connected_since(&self) -> SystemTime {
        self.0.registered.since
    }

    /// When something was last heard of its client: an answer, or a pong.
    #[must_use]
    pub fn last_seen(&self) -> SystemTime {
        self.0.registered.since + self.0.registered.seen.last()
    }

    /// How many calls have been made.
    #[must_use]
    pub fn calls(&self) -> u64 {
        self.0.calls.load(Ordering::Relaxed)
    }

    /// Sends a request through the tunnel and waits for its response, whose body is streamed where
    /// the dialect can.
    ///
    /// Of the target only path and query are sent: the client decides whom they go to. Without a Host
    /// field it is the local server's own. Hop-by-hop fields are removed (RFC 9110, section 7.6.1).
    /// Dropping the future gives the call up.
    ///
    /// # Errors
    /// Every [`CallError`]. After [`CallError::Closed`], [`CallError::Reset`] and
    /// [`CallError::TimedOut`] the request may have reached the local server.
    pub async fn call<B>(&self, request: Request<B>) -> Result<Response<TunnelBody>, CallError>
    where
        B: Body<Data = Bytes> + Send + Unpin + 'static,
        B::Error: fmt::Display,
    {
        let (mut head, body) = request.into_parts();
        let path = head.uri.path_and_query().cloned();
        head.uri = Uri::from(path.unwrap_or(PathAndQuery::from_static("/")));
        remove_hop_by_hop(&mut head.headers);
        self.send(head, body, self.account().clone(), || {}).await
    }

    pub(crate) fn account(&self) -> &Account {
        &self.0.registered.account
    }

    /// What there is for calls, and is left.
    pub(crate) fn capacity(&self) -> Capacity {
        let (bytes, free_bytes) = self.0.line.held();
        Capacity {
            // Its address tells it from others for as long as any call refers to it.
            tunnel: Arc::as_ptr(&self.0).addr() as u64,
            calls: self.0.registered.most_calls,
            bytes,
            free_bytes,
        }
    }

    /// Sends a request that is ready to go: in origin form, without hop-by-hop fields. Says when it is
    /// on its way.
    pub(crate) fn send<B>(
        &self,
        head: request::Parts,
        body: B,
        account: Account,
        taken: impl FnOnce() + Send,
    ) -> impl Future<Output = Result<Response<TunnelBody>, CallError>>
    where
        B: Body<Data = Bytes> + Send + Unpin + 'static,
        B::Error: fmt::Display,
    {
        self.0.calls.fetch_add(1, Ordering::Relaxed);
        let request = Request::from_parts(head, body);
        self.0.line.call_noting(request, Some(account), taken)
    }

    /// Attaches data to the tunnel, in the place of what it had of the same type.
    pub fn attach<T: Clone + Send + Sync + 'static>(&self, data: T) {
        self.data().insert(data);
    }

    /// The data of a type that was attached.
    #[must_use]
    pub fn attached<T: Clone + Send + Sync + 'static>(&self) -> Option<T> {
        self.data().get().cloned()
    }

    /// Closes the tunnel, and tells its client not to come back by itself. magic-mirror's and
    /// ggrok's own clients know no such word.
    pub fn close(&self) {
        self.end(Ending::Removed);
    }

    pub(crate) fn end(&self, why: Ending) {
        self.0.line.close(why);
    }

    pub(crate) fn go_away(&self) {
        self.0.line.go_away();
    }

    /// Waits until its client says that it will stop.
    pub(crate) async fn going_away(&self) {
        self.0.line.going_away().await;
    }

    /// Waits until the last call of a client that will stop has finished.
    pub(crate) async fn finished(&self) {
        self.0.line.finished().await;
    }

    pub(crate) fn registered(&self) -> &Registered {
        &self.0.registered
    }

    pub(crate) fn grant(&self) -> &Grant {
        &self.0.registered.grant
    }

    pub(crate) fn door(&self) -> Option<&Arc<Door>> {
        self.0.registered.door.as_ref()
    }

    pub(crate) fn places(&self) -> &[Place] {
        &self.0.registered.places
    }

    fn data(&self) -> MutexGuard<'_, Extensions> {
        self.0.data.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl PartialEq for Tunnel {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for Tunnel {}

impl fmt::Debug for Tunnel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Registered {
            places, dialect, ..
        } = &self.0.registered;
        f.debug_struct("Tunnel")
            .field("places", places)
            .field("dialect", dialect)
            .finish_non_exhaustive()
    }
}
