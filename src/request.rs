//! [`Request`]: an [`http_types::Request`] that is built when something first asks for it.

use std::fmt;
use std::net::SocketAddr;
use std::ops::{Deref, DerefMut};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, ready};

use futures_lite::io::empty;
use http_types::headers::{HOST, HeaderName};
use http_types::{Body, Method, Mime, Url, Version};

use super::error::Result;
use super::h1::Head;
use super::kept::{Kept, Limit, keep_type};

/// A request, as its handler gets it.
///
/// The whole API of [`http_types::Request`] is there through `Deref`. That object is put together when it is first used,
/// so a handler that needs less pays for less: [`method`](Self::method), [`path`](Self::path),
/// [`query_string`](Self::query_string), [`field`](Self::field), [`field_bytes`](Self::field_bytes),
/// [`version`](Self::version) and [`peer_addr`](Self::peer_addr) build nothing.
///
/// These say what the peer sent, exactly, until the http-types request is borrowed mutably (`req.insert_header(…)`,
/// `req.url_mut()`, …). From then on that request is the truth, and they say what it says.
///
/// The default is a GET of `/` from nobody.
///
/// # Examples
///
/// ```
/// use micro_smol::{Method, Request, http_types};
///
/// let mut req = Request::from(http_types::Request::new(Method::Get, "http://example.com/a?b=c"));
/// assert_eq!(req.path(), "/a");
/// assert_eq!(req.url().host_str(), Some("example.com"));
/// req.insert_header("x-user", "ann");
/// assert_eq!(req.field("x-user"), Some("ann"));
/// ```
#[derive(Default)]
pub struct Request {
    head: Arc<Head>,
    peer: Arc<Peer>,
    kept: Kept,
    /// What `Deref` shows, without the body.
    view: OnceLock<Box<http_types::Request>>,
    /// What `DerefMut` made of all the above, and the truth once it is there.
    full: Option<Box<http_types::Request>>,
}

/// The other end of a connection, as far as it is known.
#[derive(Debug, Default)]
pub(super) struct Peer {
    pub(super) addr: Option<SocketAddr>,
    /// Our own authority, as which it reached us: for the URL of a request whose Host is of no use.
    pub(super) authority: Option<Arc<str>>,
}

impl Request {
    pub(super) fn new(head: Arc<Head>, peer: Arc<Peer>, kept: Kept) -> Self {
        Request { head, peer, kept, view: OnceLock::new(), full: None }
    }

    /// Returns the method; `get` is none, as methods are case-sensitive (RFC 9110, 9.1).
    ///
    /// # Examples
    ///
    /// ```
    /// use micro_smol::{Method, Request};
    ///
    /// assert_eq!(Request::default().method(), Method::Get);
    /// ```
    pub fn method(&self) -> Method {
        self.full.as_ref().map_or_else(|| self.head.method(), |full| full.method())
    }

    /// Returns the path of the request target (RFC 9112, 3.2) as it was received, still percent-encoded; `*` for `OPTIONS *`.
    ///
    /// # Examples
    ///
    /// ```
    /// use micro_smol::{Request, http_types};
    ///
    /// let req = Request::from(http_types::Request::get("http://localhost/a%20b?c=d"));
    /// assert_eq!(req.path(), "/a%20b");
    /// ```
    pub fn path(&self) -> &str {
        self.full.as_ref().map_or_else(|| self.head.path(), |full| full.url().path())
    }

    /// Returns what stands behind the `?` of the request target as it was received, still percent-encoded.
    ///
    /// `None` without a `?`; an empty string if nothing follows it. `query()` of http-types parses it.
    ///
    /// # Examples
    ///
    /// ```
    /// use micro_smol::{Request, http_types};
    ///
    /// let req = Request::from(http_types::Request::get("http://localhost/a?b=c%20d"));
    /// assert_eq!(req.query_string(), Some("b=c%20d"));
    /// assert_eq!(Request::default().query_string(), None);
    /// ```
    pub fn query_string(&self) -> Option<&str> {
        self.full.as_ref().map_or_else(|| self.head.query(), |full| full.url().query())
    }

    /// Returns the value of the first field line of this name, which is compared without case.
    ///
    /// `None` if there is none, or if its value is not UTF-8: see [`field_bytes`](Self::field_bytes).
    ///
    /// # Examples
    ///
    /// ```
    /// use micro_smol::Request;
    ///
    /// async fn handler(req: Request) -> String {
    ///     format!("for {}", req.field("User-Agent").unwrap_or("nobody"))
    /// }
    ///
    /// let mut response = smol::block_on(micro_smol::respond(&handler, Request::default()));
    /// assert_eq!(smol::block_on(response.body_string()).unwrap(), "for nobody");
    /// ```
    pub fn field(&self, name: &str) -> Option<&str> {
        self.field_bytes(name).and_then(|value| str::from_utf8(value).ok())
    }

    /// Returns the bytes of the first field line of this name, which is compared without case.
    ///
    /// A field value may have bytes above 0x7F (RFC 9110, 5.5). `header` of http-types has them percent-encoded.
    ///
    /// # Examples
    ///
    /// ```
    /// use micro_smol::Request;
    ///
    /// assert_eq!(Request::default().field_bytes("x-name"), None);
    /// ```
    pub fn field_bytes(&self, name: &str) -> Option<&[u8]> {
        match &self.full {
            None => self.head.values(name).next(),
            Some(full) => Some(full.header(name.parse::<HeaderName>().ok()?)?.get(0)?.as_str().as_bytes()),
        }
    }

    /// Returns the version of HTTP that the peer spoke (RFC 9112, 2.3): 1.0 or 1.1; any other is answered with 505.
    ///
    /// # Examples
    ///
    /// ```
    /// use micro_smol::{Request, http_types::Version};
    ///
    /// assert_eq!(Request::default().version(), Version::Http1_1);
    /// ```
    pub fn version(&self) -> Version {
        let full = self.full.as_ref().and_then(|full| full.version());
        full.unwrap_or_else(|| self.head.version())
    }

    /// Returns the address of the other end of the connection; `None` for a Unix socket, and if it is not known.
    ///
    /// Behind a proxy that is the proxy: see `remote` of http-types, which believes `Forwarded` from anyone.
    ///
    /// # Examples
    ///
    /// ```
    /// use micro_smol::Request;
    ///
    /// async fn handler(req: Request) -> String {
    ///     req.peer_addr().map_or("somebody".to_owned(), |addr| addr.ip().to_string())
    /// }
    ///
    /// let mut response = smol::block_on(micro_smol::respond(&handler, Request::default()));
    /// assert_eq!(smol::block_on(response.body_string()).unwrap(), "somebody");
    /// ```
    pub fn peer_addr(&self) -> Option<SocketAddr> {
        match &self.full {
            None => self.peer.addr,
            Some(full) => full.peer_addr()?.parse().ok(),
        }
    }

    /// Takes the body out; what `json`, `text` or `buffer` has read to its end stays with them as well.
    ///
    /// # Examples
    ///
    /// ```
    /// use micro_smol::{Request, Response, stream};
    ///
    /// /// Sends the content back as it comes.
    /// async fn handler(mut req: Request) -> impl micro_smol::IntoResponse {
    ///     stream(req.take_body())
    /// }
    ///
    /// let mut req = Request::default();
    /// req.set_body("hello");
    /// let mut response = smol::block_on(micro_smol::respond(&handler, req));
    /// assert_eq!(smol::block_on(response.body_string()).unwrap(), "hello");
    /// ```
    pub fn take_body(&mut self) -> Body {
        self.find_content();
        self.view.take();
        self.kept.take()
    }

    /// Sets the body, which `json`, `text` and `buffer` then read, and Content-Type if there is none.
    ///
    /// # Examples
    ///
    /// ```
    /// use micro_smol::{Request, text};
    ///
    /// let mut req = Request::default();
    /// req.set_body("hello");
    /// assert_eq!(smol::block_on(text(&mut req).into_future()).unwrap(), "hello");
    /// ```
    pub fn set_body(&mut self, body: impl Into<Body>) {
        self.replace_body(body);
    }

    /// Sets the body as [`set_body`](Self::set_body) does, and returns the one that was there.
    ///
    /// # Examples
    ///
    /// ```
    /// use micro_smol::Request;
    ///
    /// let mut req = Request::default();
    /// req.set_body("one");
    /// let replaced = req.replace_body("two");
    /// assert_eq!(smol::block_on(replaced.into_string()).unwrap(), "one");
    /// assert_eq!(smol::block_on(req.body_string()).unwrap(), "two");
    /// ```
    pub fn replace_body(&mut self, body: impl Into<Body>) -> Body {
        let replaced = self.take_body();
        self.deref_mut().set_body(body);
        self.kept = Kept::default();
        replaced
    }

    /// Swaps the body with another; see [`replace_body`](Self::replace_body).
    ///
    /// # Examples
    ///
    /// ```
    /// use micro_smol::{Body, Request};
    ///
    /// let (mut req, mut body) = (Request::default(), Body::from("hello"));
    /// req.swap_body(&mut body);
    /// assert_eq!(smol::block_on(req.body_string()).unwrap(), "hello");
    /// ```
    pub fn swap_body(&mut self, body: &mut Body) {
        *body = self.replace_body(std::mem::replace(body, Body::empty()));
    }

    /// Reads the body as a string, like http-types, without a limit; `text` has one.
    ///
    /// # Errors
    ///
    /// 422 if the body is not UTF-8, ends early or is malformed.
    ///
    /// # Examples
    ///
    /// ```
    /// use micro_smol::Request;
    ///
    /// let mut req = Request::default();
    /// req.set_body("hello");
    /// assert_eq!(smol::block_on(req.body_string()).unwrap(), "hello");
    /// ```
    pub async fn body_string(&mut self) -> Result<String> {
        self.take_body().into_string().await
    }

    /// Reads the body as bytes, like http-types, without a limit; `buffer` has one.
    ///
    /// # Errors
    ///
    /// 422 if the body ends early or is malformed.
    ///
    /// # Examples
    ///
    /// ```
    /// use micro_smol::Request;
    ///
    /// let mut req = Request::default();
    /// req.set_body("hello");
    /// assert_eq!(smol::block_on(req.body_bytes()).unwrap(), b"hello");
    /// ```
    pub async fn body_bytes(&mut self) -> Result<Vec<u8>> {
        self.take_body().into_bytes().await
    }

    /// Reads the whole content, up to `limit`, and keeps it; returns it behind its charset, where that is known.
    pub(super) fn poll_whole(&mut self, cx: &mut Context<'_>, limit: &Limit) -> Poll<Result<(Option<String>, &[u8])>> {
        self.find_content();
        ready!(self.kept.poll_read(cx, limit))?;
        Poll::Ready(Ok((self.charset(), self.kept.content())))
    }

    /// The charset that Content-Type names.
    fn charset(&self) -> Option<String> {
        let value = self.field("content-type").filter(|value| value.contains(';'))?;
        let media_type: Mime = value.parse().ok()?;
        media_type.param("charset").map(|charset| charset.as_str().to_owned())
    }

    /// Brings content back here that was handed to the http-types request, or set on it.
    fn find_content(&mut self) {
        if let Some(full) = &mut self.full
            && full.is_empty() != Some(true)
            && !self.kept.is_shared()
        {
            let length = full.len();
            let body = keep_type(&mut **full, http_types::Request::take_body);
            self.kept = Kept::new(&[], Box::new(body), length);
        }
    }

    /// Makes the http-types request, without the content. It does not fail, whatever the peer sent.
    fn build(&self) -> Box<http_types::Request> {
        let mut view = Box::new(http_types::Request::new(self.head.method(), "http://localhost/"));
        view.set_version(Some(self.head.version()));
        view.set_peer_addr(self.peer.addr);
        for (name, value) in self.head.fields() {
            view.append_header(name, percent_encoded(value));
        }
        // The authority of an absolute target wins over Host (RFC 9112, 3.2.2).
        if let Some(authority) = self.head.authority() {
            view.insert_header(HOST, authority);
        }
        // The target URI (RFC 9110, 7.1), with our own authority if the peer's is none that a URL can have.
        let authorities = self.head.authority().into_iter().chain(self.peer.authority.as_deref());
        if let Some(url) = authorities.filter_map(|authority| Url::parse(&format!("http://{authority}/")).ok()).next() {
            *view.url_mut() = url;
        }
        view.url_mut().set_path(self.head.path().trim_start_matches('*'));
        view.url_mut().set_query(self.head.query());
        keep_type(&mut *view, |view| view.replace_body(Body::from_reader(empty(), self.kept.length())));
        view
    }
}

impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("Request");
        debug.field("method", &self.method()).field("path", &self.path()).field("query_string", &self.query_string());
        debug.finish_non_exhaustive()
    }
}

impl Deref for Request {
    type Target = http_types::Request;

    fn deref(&self) -> &http_types::Request {
        self.full.as_ref().unwrap_or_else(|| self.view.get_or_init(|| self.build()))
    }
}

impl DerefMut for Request {
    fn deref_mut(&mut self) -> &mut http_types::Request {
        let (is_first, view) = (self.full.is_none(), self.view.take());
        let mut full = self.full.take().or(view).unwrap_or_else(|| self.build());
        if is_first || full.is_empty() == Some(true) && !self.kept.is_shared() {
            keep_type(&mut *full, |full| full.replace_body(self.kept.take()));
        }
        self.full.insert(full)
    }
}

impl From<http_types::Request> for Request {
    fn from(request: http_types::Request) -> Self {
        Request { full: Some(Box::new(request)), ..Request::default() }
    }
}

impl From<Request> for http_types::Request {
    fn from(mut request: Request) -> Self {
        std::mem::replace(&mut request, http_types::Request::get("http://localhost/"))
    }
}

/// http-types panics on bytes above 0x7F, which are legal in a field value (RFC 9110, 5.5).
fn percent_encoded(value: &[u8]) -> String {
    let encode = |byte: &u8| if byte.is_ascii() { char::from(*byte).to_string() } else { format!("%{byte:02X}") };
    value.iter().map(encode).collect()
}
