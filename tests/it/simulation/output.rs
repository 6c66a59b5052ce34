//! The bytes that the peer has got, read as strictly as they can be.

/// The head of a response.
#[derive(Debug)]
pub struct Head<'a> {
    pub status: u16,
    fields: Vec<(&'a str, &'a str)>,
    pub bytes: usize,
}

/// How the end of content is marked.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Framing {
    None,
    Length(usize),
    Chunked,
    Close,
}

/// What has come of the content of a response.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Body {
    /// With the framing.
    pub bytes: usize,
    pub content_bytes: usize,
    pub is_whole: bool,
}

impl<'a> Head<'a> {
    /// `None` while some of it is missing.
    pub fn parse(bytes: &'a [u8]) -> Result<Option<Self>, String> {
        const END: &[u8] = b"\r\n\r\n";
        let shown = || String::from_utf8_lossy(&bytes[..bytes.len().min(60)]).into_owned();
        let start = b"HTTP/1.1 ";
        if !bytes.starts_with(&start[..start.len().min(bytes.len())]) {
            return Err(format!("no head of a response: {:?}", shown()));
        }
        let Some(end) = bytes.windows(END.len()).position(|window| window == END) else { return Ok(None) };
        let text = str::from_utf8(&bytes[..end]).map_err(|_| format!("no head of a response: {:?}", shown()))?;
        let mut lines = text.split("\r\n");
        let status = lines.next().and_then(|line| line.get(9..12)?.parse().ok());
        let status = status.ok_or_else(|| format!("no status: {:?}", shown()))?;
        let fields = lines.map(|line| line.split_once(": ")).collect::<Option<Vec<_>>>();
        let fields = fields.ok_or_else(|| format!("no fields: {:?}", shown()))?;
        Ok(Some(Head { status, fields, bytes: end + END.len() }))
    }

    /// The value of the one field of a name.
    pub fn field(&self, name: &str) -> Result<Option<&'a str>, String> {
        let mut values = self.fields.iter().filter(|(found, _)| *found == name).map(|(_, value)| *value);
        match (values.next(), values.next()) {
            (value, None) => Ok(value),
            _ => Err(format!("{name} is there twice")),
        }
    }

    pub fn framing(&self, has_content: bool) -> Result<Framing, String> {
        let length = self.field("content-length")?.map(str::parse::<usize>);
        match (length, self.field("transfer-encoding")?) {
            (Some(_), Some(_)) => Err("a response has two lengths".to_owned()),
            (Some(_), _) | (_, Some(_)) if matches!(self.status, 100..=199 | 204 | 304) => {
                Err(format!("a {} says how long it is", self.status))
            }
            _ if !has_content || matches!(self.status, 101 | 204 | 304) => Ok(Framing::None),
            (Some(length), None) => length.map(Framing::Length).map_err(|_| "no length".to_owned()),
            (None, Some("chunked")) => Ok(Framing::Chunked),
            (None, Some(other)) => Err(format!("the transfer coding {other:?}")),
            (None, None) => Ok(Framing::Close),
        }
    }

    pub fn closes(&self) -> Result<bool, String> {
        Ok(self.field("connection")?.is_some_and(|options| options.split(", ").any(|option| option == "close")))
    }
}

/// Takes what has come of the content, and shows each part with its place to `check`.
pub fn read_body(
    bytes: &[u8],
    framing: Framing,
    is_closed: bool,
    mut check: impl FnMut(usize, &[u8]) -> Result<(), String>,
) -> Result<Body, String> {
    match framing {
        Framing::None => Ok(Body { is_whole: true, ..Body::default() }),
        Framing::Close => {
            check(0, bytes)?;
            Ok(Body { bytes: bytes.len(), content_bytes: bytes.len(), is_whole: is_closed })
        }
        Framing::Length(length) => {
            let count = length.min(bytes.len());
            check(0, &bytes[..count])?;
            Ok(Body { bytes: count, content_bytes: count, is_whole: count == length })
        }
        Framing::Chunked => read_chunks(bytes, check),
    }
}

fn read_chunks(bytes: &[u8], mut check: impl FnMut(usize, &[u8]) -> Result<(), String>) -> Result<Body, String> {
    let (mut position, mut content_bytes) = (0, 0);
    loop {
        let rest = &bytes[position..];
        let line = rest.windows(2).take(12).position(|window| window == b"\r\n");
        let Some(line) = line else {
            let is_start = rest.len() < 12 && rest.iter().all(|byte| byte.is_ascii_hexdigit() || *byte == b'\r');
            return if is_start { Ok(unfinished(bytes, content_bytes)) } else { Err("no chunk size".to_owned()) };
        };
        let size = str::from_utf8(&rest[..line]).ok().and_then(|size| usize::from_str_radix(size, 16).ok());
        let size = size.ok_or_else(|| format!("no chunk size: {:?}", String::from_utf8_lossy(&rest[..line])))?;
        let data = &rest[line + 2..];
        check(content_bytes, &data[..size.min(data.len())])?;
        content_bytes += size.min(data.len());
        let end = data.get(size..).unwrap_or_default();
        if !b"\r\n".starts_with(&end[..end.len().min(2)]) {
            return Err("a chunk does not end in CRLF".to_owned());
        }
        if end.len() < 2 {
            return Ok(unfinished(bytes, content_bytes));
        }
        position += line + 2 + size + 2;
        if size == 0 {
            return Ok(Body { bytes: position, content_bytes, is_whole: true });
        }
    }
}

fn unfinished(bytes: &[u8], content_bytes: usize) -> Body {
    Body { bytes: bytes.len(), content_bytes, is_whole: false }
}
