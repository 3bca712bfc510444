//! Reads requests and responses by the letter of RFC 9112, with no code of the programs under test.

/// A request that is whole.
#[derive(Clone, Debug)]
pub struct Request {
    pub method: String,
    pub target: String,
    pub fields: Vec<(String, String)>,
    pub body: Vec<u8>,
}

/// A response, as far as it came.
#[derive(Clone, Debug)]
pub struct Response {
    pub status: u16,
    pub fields: Vec<(String, String)>,
    pub body: Vec<u8>,
    pub is_whole: bool,
}

impl Request {
    /// Whether it asks for another protocol.
    pub fn is_upgrade(&self) -> bool {
        !values(&self.fields, "upgrade").is_empty()
    }
}

impl Response {
    /// The code of an answer of ggrok's own.
    pub fn error(&self) -> Option<&str> {
        values(&self.fields, "x-ggrok-error").first().copied()
    }
}

/// How a body ends.
enum Framing {
    Length(usize),
    Chunks,
    Close,
}

/// Reads the head of a request; nothing where it is not whole. Returns its length, too.
pub fn request_head(bytes: &[u8]) -> Result<Option<(Request, usize)>, String> {
    let Some((line, fields, end)) = head(bytes)? else {
        return Ok(None);
    };
    let words: Vec<&str> = line.split(' ').collect();
    let [method, target, "HTTP/1.1"] = words[..] else {
        return Err(format!("no request line: {line:?}"));
    };
    let no_target = |letter: char| !('\x21'..='\x7e').contains(&letter) && letter < '\u{80}';
    if !is_token(method) || target.is_empty() || target.contains(no_target) {
        return Err(format!("no request line: {line:?}"));
    }
    if values(&fields, "host").len() != 1 {
        return Err(format!("not one Host: {fields:?}"));
    }
    let request = Request {
        method: method.to_owned(),
        target: target.to_owned(),
        fields,
        body: Vec::new(),
    };
    Ok(Some((request, end)))
}

/// Reads a request with its body; nothing where it is not whole. Returns its length, too.
pub fn request(bytes: &[u8]) -> Result<Option<(Request, usize)>, String> {
    let Some((mut request, end)) = request_head(bytes)? else {
        return Ok(None);
    };
    let rest = &bytes[end..];
    let body = match framing(&request.fields)? {
        Framing::Chunks => chunks(rest)?,
        Framing::Length(length) => rest.get(..length).map(|body| (body.to_vec(), length)),
        Framing::Close => Some((Vec::new(), 0)),
    };
    Ok(body.map(|(body, length)| {
        request.body = body;
        (request, end + length)
    }))
}

/// Reads all responses, the first of them to a request with this method and the others to a GET.
/// `ended`: whether no more bytes will come. Interim ones are left out.
pub fn responses(mut bytes: &[u8], method: &str, ended: bool) -> Result<Vec<Response>, String> {
    let mut all = Vec::new();
    let mut method = method;
    while let Some((line, fields, end)) = head(bytes)? {
        let status = status(&line)?;
        bytes = &bytes[end..];
        if (100..200).contains(&status) && status != 101 {
            continue;
        }
        let framing = match status {
            101 => Framing::Close,
            204 | 304 => Framing::Length(0),
            _ if method == "HEAD" => Framing::Length(0),
            _ => framing(&fields)?,
        };
        let body = match framing {
            Framing::Chunks => chunks(bytes)?,
            Framing::Length(length) => bytes.get(..length).map(|body| (body.to_vec(), length)),
            Framing::Close => ended.then(|| (bytes.to_vec(), bytes.len())),
        };
        let is_whole = body.is_some();
        let (body, length) = body.unwrap_or_else(|| (bytes.to_vec(), bytes.len()));
        bytes = &bytes[length..];
        all.push(Response {
            status,
            fields,
            body,
            is_whole,
        });
        method = "GET";
    }
    match bytes {
        [] => Ok(all),
        // A head that is not whole is no response, and nobody takes it for one.
        _ if !ended || bytes.starts_with(b"HTTP/1.") => Ok(all),
        _ => Err(format!("no response: {}", latin(bytes))),
    }
}

/// The first line, the fields, and the length of a head.
type Head = (String, Vec<(String, String)>, usize);

fn head(bytes: &[u8]) -> Result<Option<Head>, String> {
    let Some(end) = position(bytes, b"\r\n\r\n") else {
        return Ok(None);
    };
    let head = latin(&bytes[..end]);
    let mut lines = head.split("\r\n");
    let first = lines.next().unwrap_or_default().to_owned();
    let fields = lines.map(field).collect::<Result<_, _>>()?;
    Ok(Some((first, fields, end + 4)))
}

fn field(line: &str) -> Result<(String, String), String> {
    let is_value = |letter: char| letter == '\t' || (letter >= ' ' && letter != '\x7f');
    match line.split_once(':') {
        Some((name, value)) if is_token(name) && value.chars().all(is_value) => Ok((
            name.to_ascii_lowercase(),
            value.trim_matches([' ', '\t']).to_owned(),
        )),
        _ => Err(format!("no field: {line:?}")),
    }
}

fn status(line: &str) -> Result<u16, String> {
    let rest = line
        .strip_prefix("HTTP/1.1 ")
        .or_else(|| line.strip_prefix("HTTP/1.0 "));
    let (code, reason) = rest
        .and_then(|rest| rest.split_once(' '))
        .unwrap_or_default();
    let is_code = code.len() == 3 && code.bytes().all(|digit| digit.is_ascii_digit());
    if !is_code || reason.contains(|letter: char| letter.is_ascii_control()) {
        return Err(format!("no status line: {line:?}"));
    }
    code.parse().map_err(|_| format!("no status: {line:?}"))
}

fn framing(fields: &[(String, String)]) -> Result<Framing, String> {
    let (lengths, codings) = (
        values(fields, "content-length"),
        values(fields, "transfer-encoding"),
    );
    match (&lengths[..], &codings[..]) {
        ([], []) => Ok(Framing::Close),
        ([], ["chunked"]) => Ok(Framing::Chunks),
        ([length], []) if length.bytes().all(|digit| digit.is_ascii_digit()) => {
            let length = length
                .parse()
                .map_err(|_| format!("no length: {length:?}"))?;
            Ok(Framing::Length(length))
        }
        _ => Err(format!("framed in two ways, or none: {fields:?}")),
    }
}

/// Reads chunks and trailers, without extensions; nothing where the last one is not there.
fn chunks(bytes: &[u8]) -> Result<Option<(Vec<u8>, usize)>, String> {
    let mut body = Vec::new();
    let mut at = 0;
    loop {
        let Some(line) = position(&bytes[at..], b"\r\n") else {
            return Ok(None);
        };
        let digits = latin(&bytes[at..at + line]);
        let size =
            Some(&digits).filter(|digits| digits.bytes().all(|digit| digit.is_ascii_hexdigit()));
        let size = size.and_then(|size| usize::from_str_radix(size, 16).ok());
        let size = size.ok_or_else(|| format!("no chunk size: {digits:?}"))?;
        at += line + 2;
        if size == 0 {
            let trailers = [b"\r\n", &bytes[at..]].concat();
            return Ok(head(&trailers)?.map(|(_, _, length)| (body, at + length - 2)));
        }
        let Some(chunk) = bytes.get(at..at + size + 2) else {
            return Ok(None);
        };
        if !chunk.ends_with(b"\r\n") {
            return Err(format!("a chunk has no end: {}", latin(chunk)));
        }
        body.extend_from_slice(&chunk[..size]);
        at += size + 2;
    }
}

/// All values of a field.
pub fn values<'a>(fields: &'a [(String, String)], name: &str) -> Vec<&'a str> {
    let of_name = fields.iter().filter(|(key, _)| key == name);
    of_name.map(|(_, value)| value.as_str()).collect()
}

fn is_token(text: &str) -> bool {
    let is_letter =
        |letter: u8| letter.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&letter);
    !text.is_empty() && text.bytes().all(is_letter)
}

pub fn position(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes
        .windows(wanted.len())
        .position(|window| window == wanted)
}

/// Bytes as characters.
pub fn latin(bytes: &[u8]) -> String {
    bytes.iter().copied().map(char::from).collect()
}
