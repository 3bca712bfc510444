//! A streamed body, held whole within bounds.

use std::fmt;
use std::pin::pin;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use http_body::Body;
use http_body_util::BodyExt;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use crate::{Account, CallError, Limits, Reservation};

/// Bytes that a tunnel may hold.
pub(crate) type Budget = Arc<Semaphore>;

/// Bytes that are held, of the tunnel's and in the account of who asked for them, until this is dropped.
#[derive(Debug)]
pub(crate) struct Held {
    permit: OwnedSemaphorePermit,
    reserved: Option<Reservation>,
}

impl Held {
    /// Takes bytes, where there are so many.
    pub(crate) fn take(
        budget: &Budget,
        account: Option<&Account>,
        bytes: usize,
    ) -> Result<Self, CallError> {
        let reserved = match account {
            Some(account) => {
                let reserved = account.try_reserve(bytes);
                Some(reserved.ok_or(CallError::TooManyBytes)?)
            }
            None => None,
        };
        let permit = permit(budget, bytes)?;
        Ok(Self { permit, reserved })
    }

    fn grow(&mut self, budget: &Budget, bytes: usize) -> Result<(), CallError> {
        let reserved = self.reserved.as_mut();
        if reserved.is_some_and(|reserved| !reserved.try_grow(bytes)) {
            return Err(CallError::TooManyBytes);
        }
        self.permit.merge(permit(budget, bytes)?);
        Ok(())
    }
}

/// Collects a body whole. Its bytes are taken from the budget and the account as they come: a body that announces much
/// and sends nothing costs nothing. Trailers are dropped, as RFC 9110, section 6.5.1 allows.
pub(crate) async fn collect<B>(
    body: B,
    limits: &Limits,
    budget: &Budget,
    account: Option<&Account>,
) -> Result<(Bytes, Held), CallError>
where
    B: Body<Data = Bytes>,
    B::Error: fmt::Display,
{
    if body.size_hint().lower() > limits.body as u64 {
        return Err(CallError::BodyTooLarge);
    }
    let mut held = Held::take(budget, account, 0)?;
    let mut whole = Whole::default();
    let mut body = pin!(body);
    while let Some(frame) = timeout(limits.body_idle, body.frame())
        .await
        .map_err(|_| CallError::BodyStalled)?
    {
        let frame = frame.map_err(|error| CallError::BodyBroken(error.to_string()))?;
        let Ok(data) = frame.into_data() else {
            continue;
        };
        if whole.len() + data.len() > limits.body {
            return Err(CallError::BodyTooLarge);
        }
        held.grow(budget, data.len())?;
        whole.push(data);
    }
    Ok((whole.into_bytes(), held))
}

fn permit(budget: &Budget, bytes: usize) -> Result<OwnedSemaphorePermit, CallError> {
    let bytes = u32::try_from(bytes).map_err(|_| CallError::TooManyBytes)?;
    Arc::clone(budget)
        .try_acquire_many_owned(bytes)
        .map_err(|_| CallError::TooManyBytes)
}

/// Bytes in order. A body that comes in one piece, as most do, is not copied.
#[derive(Default)]
struct Whole {
    first: Bytes,
    rest: BytesMut,
}

impl Whole {
    fn len(&self) -> usize {
        self.first.len().max(self.rest.len())
    }

    fn push(&mut self, data: Bytes) {
        if self.len() == 0 {
            self.first = data;
            return;
        }
        if self.rest.is_empty() {
            self.rest.extend_from_slice(&self.first);
        }
        self.rest.extend_from_slice(&data);
    }

    fn into_bytes(self) -> Bytes {
        if self.rest.is_empty() {
            self.first
        } else {
            self.rest.freeze()
        }
    }
}
