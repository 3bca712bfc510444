//! Request targets: those that are carried as they are, and those that are refused.

/// Octets that a path and a query may hold, as the HTTP library has it: more than RFC 3986 allows,
/// since browsers and programs send them.
const IN_BOTH: &str = "!$%&'()*+,-./0189:;=@ABYZ[\\]^_abyz{|}~";

/// Octets that a query alone may hold.
const IN_QUERIES: &str = "?`";

/// Octets that a path alone may hold.
const IN_PATHS: &str = "\"";

/// Octets that neither may hold. A space ends the target, and what is behind it is no version then;
/// a lone octet above 0x7f is no UTF-8.
const IN_NEITHER: &[u8] = b" <>\x7f\x00\x01\x08\t\n\x0b\x0c\r\x1b\x1f\x80\xbf\xc3\xe9\xff";

#[rustfmt::skip]
const HAND_PICKED: &[&str] = &[
    "/", "//", "///", "////a", "//a", "/a//b", "/a//", "//evil.example/x", "//@evil.example",
    "/.", "/..", "/./", "/../", "/a/.", "/a/..", "/a/./b", "/a/../b", "/../../etc/passwd", "/.../",
    "/..;/admin", "/a;/b", "/;a=b;c", "/a;v=1.1/b;v=2", "/;", "/;;", "/a;jsessionid=0123",
    "/%2e", "/%2E", "/%2e%2e/", "/%2E%2E%2F", "/%2f%2F", "/%5c%5C", "/%252e", "/%25", "/%2500",
    "/%", "/%%", "/%z", "/%zz", "/%1", "/%1g", "/a%", "/a%2", "/%u0041", "/%C0%AF", "/%f0%9f%98%80",
    "/?%", "/?%zz", "/?a=%1&b=%",
    "/?", "/??", "/???", "/a?", "/a??", "/a?b?c", "/?a", "/?a=", "/?=a", "/?&", "/?&&a", "/?a=b=c",
    "/?a=1&a=2&a=1", "/?a;b", "/?/../x", "/?a=/b/../c", "/?//", "/?u=http://evil.example/?x",
    "/?q='x'", "/?q=a+b%20c", "/?[0]=1&x[]=2", "/?{a}", "/?a=%23", "/?a=%0d%0aX:1",
    "/*", "/**", "/?*", "/a*b", "/:", "/:80", "/@", "/a@b:c", "/http://evil.example/", "/http:/x",
    "/\\", "/\\\\evil.example", "/a\\..\\b", "/C:\\x", "/|", "/a|b", "/^", "/{a}", "/{}", "/[]", "/[::1]",
    "/~", "/~u/", "/$", "/$$", "/!", "/,", "/=", "/&", "/a&b", "/'", "/(x)", "/a'--", "/\"", "/\"a\"",
    "/\u{e9}", "/\u{20ac}", "/\u{1f600}", "/\u{4f60}/\u{597d}", "/?\u{e9}=\u{1f600}", "/\u{202e}", "/\u{feff}",
    "/a/b/c/d/e/f/g/h/i/j", "/index.html", "/.well-known/acme-challenge/x", "/favicon.ico",
    "/_ggrokx", "/_GGROK/health", "/%5fggrok/health", "/_ggrok%2fhealth", "/./_ggrok/health",
    "//_ggrok/health", "/$ggrok", "/%24%24ggrok", "/CONNECT", "/HTTP/1.1", "/GET%20/",
];

/// Targets that arrive as they are. In a dialect of the originals, those with a broken escape do not.
pub fn carried() -> Vec<Vec<u8>> {
    let mut targets: Vec<Vec<u8>> = Vec::new();
    for octet in IN_BOTH.bytes().chain(IN_PATHS.bytes()) {
        targets.push([b"/a", &[octet][..], b"z"].concat());
    }
    for octet in IN_BOTH.bytes().chain(IN_QUERIES.bytes()) {
        targets.push([b"/q?a", &[octet][..], b"z"].concat());
    }
    for octet in 0..=0xff_u8 {
        targets.push(format!("/%{octet:02X}?%{octet:02x}").into_bytes());
    }
    targets.extend(HAND_PICKED.iter().map(|target| target.as_bytes().to_vec()));
    for length in [255, 1024, 4096, 7999, 8000, 16_000] {
        targets.push([b"/", &b"p".repeat(length - 1)[..]].concat());
        targets.push([b"/?", &b"q".repeat(length - 2)[..]].concat());
        targets.push([b"/", &b"a/".repeat(length / 2 - 1)[..]].concat());
    }
    targets
}

/// Targets that are no targets.
pub fn refused() -> Vec<Vec<u8>> {
    let mut targets = Vec::new();
    for octet in IN_NEITHER
        .iter()
        .copied()
        .chain(IN_QUERIES.bytes().filter(|octet| *octet != b'?'))
    {
        targets.push([b"/a", &[octet][..], b"z"].concat());
    }
    for octet in IN_NEITHER.iter().copied().chain(IN_PATHS.bytes()) {
        targets.push([b"/q?a", &[octet][..], b"z"].concat());
    }
    targets
}

/// Whether the path of a target has a percent sign without two digits behind it.
pub fn has_broken_escape(target: &[u8]) -> bool {
    let path = target.split(|octet| *octet == b'?').next().unwrap();
    let mut escapes = path.split(|octet| *octet == b'%').skip(1);
    escapes.any(|rest| rest.len() < 2 || !rest[..2].iter().all(u8::is_ascii_hexdigit))
}
