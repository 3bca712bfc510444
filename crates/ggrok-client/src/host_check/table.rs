//! The refusals of local servers that are recognised, and what helps against each.

use std::fmt;

/// A kind of refusal by the local server that a setting of the client or the server resolves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HostCheck {
    /// Vite does not know the host.
    Vite,
    /// webpack-dev-server does not know the host.
    Webpack,
    /// Django does not know the host.
    Django,
    /// Rails does not know the host. It checks X-Forwarded-Host too.
    Rails,
    /// Sinatra does not know the host. It checks X-Forwarded-Host too.
    Sinatra,
    /// Jupyter takes requests for local hosts only.
    Jupyter,
    /// Next.js takes no WebSocket of the page's origin.
    NextJs,
    /// Django takes no form from the page's origin.
    DjangoOrigin,
    /// Flask-WTF takes no form from the page's origin.
    FlaskWtf,
    /// SvelteKit or Astro takes no form from the page's origin.
    SvelteKit,
    /// Home Assistant trusts no proxy.
    HomeAssistant,
    /// The local server speaks TLS only.
    Tls,
    /// The local server has never responded, and closed the connection: it may speak TLS only.
    Closed,
    /// The first response of the local server is a refusal of an unknown kind.
    Unknown,
}

/// A page by which a local server refuses a request.
pub(super) struct Page {
    pub(super) check: HostCheck,
    pub(super) statuses: &'static [u16],
    pub(super) mark: Mark,
    /// Others send this page too, and only an app that never sends another is meant.
    pub(super) is_first: bool,
}

/// How a page is recognised.
pub(super) enum Mark {
    Whole(&'static [u8]),
    Start(&'static [u8]),
    /// At most [`LONGEST`] bytes each.
    Within(&'static [&'static [u8]]),
}

const fn page(check: HostCheck, statuses: &'static [u16], mark: Mark) -> Page {
    Page {
        check,
        statuses,
        mark,
        is_first: false,
    }
}

pub(super) const PAGES: &[Page] = &[
    // Before its version 5 it refused with 200.
    page(HostCheck::Webpack, &[200, 403], Mark::Whole(WEBPACK)),
    page(
        HostCheck::Vite,
        &[403],
        Mark::Start(b"Blocked request. This host ("),
    ),
    page(
        HostCheck::Rails,
        &[403],
        Mark::Within(&[b"Blocked host: ", b"Blocked hosts: "]),
    ),
    page(
        HostCheck::Django,
        &[400],
        Mark::Within(&[b"DisallowedHost", b"Invalid HTTP_HOST header"]),
    ),
    page(
        HostCheck::DjangoOrigin,
        &[403],
        Mark::Within(&[b"Origin checking failed", b"Referer checking failed"]),
    ),
    page(
        HostCheck::FlaskWtf,
        &[400],
        Mark::Within(&[b"The referrer does not match the host"]),
    ),
    page(
        HostCheck::SvelteKit,
        &[403],
        Mark::Within(&[b" form submissions are forbidden"]),
    ),
    page(
        HostCheck::Sinatra,
        &[403],
        Mark::Start(b"Host not permitted"),
    ),
    page(HostCheck::Jupyter, &[403], Mark::Within(&[b"Jupyter"])),
    page(
        HostCheck::Tls,
        &[400],
        Mark::Within(&[
            // nginx, Go, Apache and Tomcat.
            b"plain HTTP request was sent to HTTPS port",
            b"Client sent an HTTP request to an HTTPS server",
            b"speaking plain HTTP to an SSL-enabled server",
            b"combination of host and port requires TLS",
        ]),
    ),
    // Any app on aiohttp may send it for other reasons.
    Page {
        check: HostCheck::HomeAssistant,
        statuses: &[400],
        mark: Mark::Whole(b"400: Bad Request"),
        is_first: true,
    },
];

pub(super) const WEBPACK: &[u8] = b"Invalid Host header";

/// Bytes of the longest mark within a page, or more.
pub(super) const LONGEST: usize = 64;

/// The refusals that are no HTTP, by their first bytes.
pub(super) const FOREIGN: &[(&[u8], HostCheck)] = &[
    // An alert of TLS (RFC 8446, section 5.1).
    (b"\x15\x03", HostCheck::Tls),
    (b"Unauthorized", HostCheck::NextJs),
];

impl HostCheck {
    /// The start of a sentence that the public host completes.
    #[must_use]
    pub const fn problem(self) -> &'static str {
        match self {
            Self::Vite => "Vite does not know the host",
            Self::Webpack => "webpack-dev-server does not know the host",
            Self::Django => "Django does not know the host",
            Self::Rails => "Rails does not know the host",
            Self::Sinatra => "Sinatra does not know the host",
            Self::Jupyter => "Jupyter does not take requests for the host",
            Self::NextJs => "Next.js takes no WebSocket from pages of",
            Self::DjangoOrigin => "Django takes no form from pages of",
            Self::FlaskWtf => "Flask-WTF takes no form from pages of",
            Self::SvelteKit => "SvelteKit or Astro takes no form from pages of",
            Self::HomeAssistant => {
                "The app refuses requests as Home Assistant does that trusts no proxy, for"
            }
            Self::Tls => {
                "The app speaks TLS, which this client does not, so it refuses visitors of"
            }
            Self::Closed => "The app closed the connection without a response to a visitor of",
            Self::Unknown => "The first response of the app is a refusal, for",
        }
    }

    /// The setting that helps, where the local server receives its own host or where it receives the
    /// public one. Nothing where this refusal has another reason there.
    pub(super) const fn remedy(self, is_rewritten: bool) -> Option<&'static str> {
        let rewrite = match self {
            Self::Rails => return Some("add the host to config.hosts"),
            Self::Sinatra => {
                return Some("add the host to permitted_hosts of its setting host_authorization");
            }
            Self::HomeAssistant => {
                return Some(
                    "set use_x_forwarded_for, and the client's address in trusted_proxies",
                );
            }
            Self::Tls => {
                return Some("start the client with the address of a port that speaks plain HTTP");
            }
            Self::Closed => {
                return Some(
                    "if it speaks TLS, which this client does not, start the client with the \
                     address of a port that speaks plain HTTP",
                );
            }
            Self::DjangoOrigin | Self::FlaskWtf | Self::SvelteKit if is_rewritten => {
                return Some(
                    "the app goes by X-Forwarded-Proto or -Host, so start the client with \
                     --host-header preserve",
                );
            }
            Self::Vite => {
                "start the client with --host-header rewrite, or add the host to server.allowedHosts"
            }
            Self::Webpack => {
                "start the client with --host-header rewrite, or add the host to allowedHosts"
            }
            Self::Django => {
                "start the client with --host-header rewrite, or add the host to ALLOWED_HOSTS"
            }
            Self::Jupyter => {
                "start the client with --host-header rewrite, or set ServerApp.allow_remote_access"
            }
            Self::NextJs => {
                "start the client with --host-header rewrite, or add the host to allowedDevOrigins"
            }
            Self::DjangoOrigin => {
                "start the client with --host-header rewrite, or set CSRF_TRUSTED_ORIGINS or \
                 SECURE_PROXY_SSL_HEADER"
            }
            Self::FlaskWtf => {
                "start the client with --host-header rewrite, or set x_host=1 in its ProxyFix"
            }
            Self::SvelteKit => {
                "start the client with --host-header rewrite, or allow the origin in the app"
            }
            Self::Unknown => {
                "if the app takes only its own host or origin, start the client with --host-header \
                 rewrite"
            }
        };
        if is_rewritten { None } else { Some(rewrite) }
    }
}

impl fmt::Display for HostCheck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Vite => "Vite",
            Self::Webpack => "webpack-dev-server",
            Self::Django => "Django",
            Self::Rails => "Rails",
            Self::Sinatra => "Sinatra",
            Self::Jupyter => "Jupyter",
            Self::NextJs => "Next.js",
            Self::DjangoOrigin => "Django's CSRF protection",
            Self::FlaskWtf => "Flask-WTF",
            Self::SvelteKit => "SvelteKit or Astro",
            Self::HomeAssistant => "Home Assistant",
            Self::Tls => "TLS",
            Self::Closed => "closed connection",
            Self::Unknown => "unknown",
        })
    }
}
