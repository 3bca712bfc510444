//! The measures of one call, from its request's head to the end of its response's body.

use std::sync::Arc;

use axum::response::Response;
use bytes::{Buf, Bytes};
use ggrok_protocol::{Account, Broken};
use http::StatusCode;
use http_body::Frame;
use tokio::time::Instant;

use crate::Tunnel;
use crate::error::RelayError;
use crate::limits::calls::{Entry, Permit};
use crate::metrics::{During, Hop, Metrics};
use crate::visitor_body::VisitorBody;

/// Measures one call. Dropping it is the call's end.
pub(crate) struct Meter {
    metrics: Metrics,
    start: Instant,
    /// Whether it is known what became of the call.
    has_outcome: bool,
    /// Whether that is the app's answer.
    pub(crate) is_apps: bool,
    /// The call's place, while it is one of the app's.
    permit: Option<Permit>,
    _in_flight: During,
}

impl Meter {
    /// Starts with the request's head.
    pub(crate) fn new(metrics: &Metrics) -> Self {
        Self {
            metrics: metrics.clone(),
            start: Instant::now(),
            has_outcome: false,
            is_apps: false,
            permit: None,
            _in_flight: metrics.during(|counts| &counts.calls_in_flight),
        }
    }

    /// Keeps the call's place until all of the response has been sent.
    pub(crate) fn keep(&mut self, permit: Permit) {
        self.permit = Some(permit);
    }

    /// The call's place.
    pub(crate) const fn permit(&self) -> Option<&Permit> {
        self.permit.as_ref()
    }

    /// The account that the call's memory counts in: the address's, or the tunnel's for a call that has no
    /// place.
    pub(crate) fn account(&self, tunnel: &Tunnel) -> Account {
        let of_address = self.permit().map(|permit| permit.entry().account());
        of_address.unwrap_or_else(|| tunnel.account()).clone()
    }

    /// Hands over the call's place, to what the call becomes and outlives it.
    pub(crate) fn take_permit(&mut self) -> Option<Permit> {
        self.permit.take()
    }

    /// Notes that the tunnel took the request.
    pub(crate) fn taken(&self) {
        self.reached(Hop::Tunnel);
    }

    /// Notes that the app answered.
    pub(crate) fn answered(&mut self, status: StatusCode) {
        self.has_outcome = true;
        self.is_apps = true;
        self.metrics.counts().answered(status);
        self.reached(Hop::Head);
    }

    /// Notes that the relay gives an answer of its own, which is small and takes no call's place.
    pub(crate) fn failed(&mut self, error: &RelayError) {
        self.has_outcome = true;
        self.permit = None;
        let (status, code) = error.status_and_code();
        self.metrics.counts().failed(code, status);
    }

    /// Goes along with a response until all of it has been sent. An upgraded connection is no longer a
    /// call.
    pub(crate) fn follow(self, response: Response) -> http::Response<VisitorBody> {
        if response.status() == StatusCode::SWITCHING_PROTOCOLS {
            return response.map(VisitorBody::from);
        }
        response.map(|body| VisitorBody::metered(body, self))
    }

    /// What the limiter knows of the call.
    pub(crate) fn entry(&self) -> Option<&Arc<Entry>> {
        self.permit().map(Permit::entry)
    }

    /// Notes that bytes go to the visitor.
    pub(crate) fn sends(&self, bytes: u64) {
        self.metrics.counts().sent.inc_by(bytes);
        if let Some(entry) = self.entry() {
            entry.moved();
        }
    }

    /// Counts a response that ended before its end.
    pub(crate) fn broke(&self, why: Broken) {
        self.metrics.counts().broke(why);
    }

    fn reached(&self, hop: Hop) {
        let seconds = self.start.elapsed().as_secs_f64();
        self.metrics.counts().reached(hop, seconds);
    }
}

impl Drop for Meter {
    fn drop(&mut self) {
        if !self.has_outcome {
            self.metrics.counts().left();
        }
        self.reached(Hop::Whole);
    }
}

/// Bytes of data in a frame of a body.
pub(crate) fn length(frame: &Frame<Bytes>) -> u64 {
    let bytes = frame.data_ref().map_or(0, Buf::remaining);
    u64::try_from(bytes).unwrap_or(u64::MAX)
}
