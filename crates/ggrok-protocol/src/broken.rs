//! Why a response's body ended before its end, in the words of both programs.

use std::fmt;

use http::StatusCode;

use crate::{BodyError, ResetCode};

/// How a call was answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Responded {
    /// The status that went out.
    pub status: StatusCode,
    /// How much of the body was taken from the app.
    pub length: BodyLength,
    /// Why the body ended before its end, where it did.
    pub broken: Option<Broken>,
}

/// How much of a body came. It is shown as `5 of 500 bytes`, or as `60,000 bytes` where no length was
/// announced.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BodyLength {
    /// Bytes that came.
    pub bytes: u64,
    /// Bytes that were announced.
    pub announced: Option<u64>,
}

/// Who ended a response's body before its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Broken {
    /// The app broke off.
    App,
    /// The app sent nothing more for too long.
    AppStalled,
    /// The visitor left.
    VisitorLeft,
    /// The visitor took nothing more for too long, or sent nothing more of its request.
    VisitorStalled,
    /// The tunnel ended.
    Tunnel,
}

impl Broken {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::App,
        Self::AppStalled,
        Self::VisitorLeft,
        Self::VisitorStalled,
        Self::Tunnel,
    ];

    /// A stable word for programs.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::App => "local-broken",
            Self::AppStalled => "local-stalled",
            Self::VisitorLeft => "visitor-left",
            Self::VisitorStalled => "visitor-stalled",
            Self::Tunnel => "tunnel-closed",
        }
    }

    /// Whether it is the visitor's doing, and no error.
    #[must_use]
    pub const fn is_visitors(self) -> bool {
        matches!(self, Self::VisitorLeft | Self::VisitorStalled)
    }

    /// A text for people, such as `broke off after 5 of 500 bytes`.
    #[must_use]
    pub fn after(self, length: BodyLength) -> String {
        let what = match self {
            Self::App => "broke off",
            Self::AppStalled => "stalled",
            Self::VisitorLeft => "visitor left",
            Self::VisitorStalled => "visitor stalled",
            Self::Tunnel => "tunnel ended",
        };
        format!("{what} after {length}")
    }
}

impl From<BodyError> for Broken {
    fn from(error: BodyError) -> Self {
        match error {
            BodyError::Reset(ResetCode::Broken) => Self::App,
            BodyError::Reset(ResetCode::TimedOut) => Self::AppStalled,
            // Of the request, whose body broke off.
            BodyError::Reset(ResetCode::Cancelled) => Self::VisitorLeft,
            BodyError::Reset(_) | BodyError::Closed => Self::Tunnel,
        }
    }
}

impl fmt::Display for BodyLength {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = grouped(self.bytes);
        match self.announced {
            Some(announced) => write!(f, "{bytes} of {} bytes", grouped(announced)),
            None if self.bytes == 1 => f.write_str("1 byte"),
            None => write!(f, "{bytes} bytes"),
        }
    }
}

/// A number with commas between its thousands.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut grouped = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

#[cfg(test)]
mod tests {
    use super::{BodyLength, Broken};

    #[test]
    fn says_how_much_came() {
        for (bytes, announced, says) in [
            (5, Some(500), "broke off after 5 of 500 bytes"),
            (0, Some(1), "broke off after 0 of 1 bytes"),
            (
                60_000,
                Some(100_000),
                "broke off after 60,000 of 100,000 bytes",
            ),
            (1, None, "broke off after 1 byte"),
            (1_234_567, None, "broke off after 1,234,567 bytes"),
        ] {
            let length = BodyLength { bytes, announced };
            assert_eq!(Broken::App.after(length), says);
        }
    }
}
