//! [`Request`]: what was received, and what a wrapper has added.

use std::fmt;
use std::mem;
use std::net::SocketAddr;
use std::sync::{Arc, LazyLock};

use http_types::headers::{CONTENT_TYPE, HOST, HeaderName};
use http_types::{Body, Extensions, Method, Mime, Url, Version};
use serde::de::DeserializeOwned;
use smol::channel::Receiver;

use super::error::{Result, invalid};
use super::http1::{Head, split_absolute};
use super::payload::Payload;

/// A request, as its handler gets it.
///
/// Method, path, query and fields are what the client sent: nothing is normalised, and nothing changes but by a call that
/// says so. [`json`](super::json()), [`text`](super::text()), [`buffer`](super::buffer()) and [`form`](super::form()) read the
/// content.
///
/// It converts from and to [`http_types::Request`], for whoever wants that API. That costs some 10 µs, and its URL is
/// normalised: `/x/../a` becomes `/a`. A check of the path has to look at the same type as the handler behind it.
///
/// The default is a GET of `/`.
///
/// # Examples
///
/// ```
/// use micro_smol::{Method, Request, http_types};
///
/// let req = Request::get("/a/../b?c=d").with_header("x-user", "ann");
/// assert_eq!((req.method(), req.path()), (Method::Get, "/a/../b"));
/// assert_eq!(req.header("X-User"), Some("ann"));
/// assert_eq!(http_types::Request::from(req).url().path(), "/b");
/// ```
#[derive(Default)]
pub struct Request {
    pub(super) head: Arc<Head>,
    context: Arc<ConnectionContext>,
    pub(super) payload: Payload,
    /// Boxed, because most requests have none, and a request is moved a few times.
    extensions: Option<Box<Extensions>>,
}

/// What the requests of a connection have in common.
#[derive(Debug, Default)]
pub struct ConnectionContext {
    pub(super) peer_addr: Option<SocketAddr>,
    /// The server's own authority, for the URL of a request whose Host cannot be in one.
    pub(super) authority: Option<Arc<str>>,
    /// Closed when the server is told to stop; none without a server.
    pub(super) stopping: Option<Receiver<()>>,
}

impl Request {
    /// Returns the method. Methods are case-sensitive: `get` is unknown (RFC 9110, 9.1).
    ///
    /// # Examples
    ///
    /// ```
    /// use micro_smol::{Method, Request};
    ///
    /// assert_eq!(Request::default().method(), Method::Get);
    /// ```
    pub fn method(&self) -> Method {
        self.head.method
    }

    /// Returns the path of the request target (RFC 9112, 3.2) as it was received: percent-encoded, with its dot segments.
    ///
    /// It is `*` for `OPTIONS *`, and `/` for an absolute target without a path.
    ///
    /// # Examples
    ///
    /// ```
    /// assert_eq!(micro_smol::Request::get("/a%20b/../c?d=e").path(), "/a%20b/../c");
    /// ```
    pub fn path(&self) -> &str {
        self.head.path()
    }

    /// Returns the query of the request target, which is what follows the `?`, as it was received.
    ///
    /// `None` without a `?`; an empty string if nothing follows it. [`query`](Self::query) parses it.
    ///
    /// # Examples
    ///
    /// ```
    /// use micro_smol::Request;
    ///
    /// assert_eq!(Request::get("/a?b=c%20d").query_string(), Some("b=c%20d"));
    /// assert_eq!(Request::get("/a").query_string(), None);
    /// ```
    pub fn query_string(&self) -> Option<&str> {
        self.head.query()
    }

    /// Parses the query as a form (`application/x-www-form-urlencoded`) into any type that serde can deserialise.
    ///
    /// A request without a query is parsed as one with an empty query: it fits a type whose fields are all `Option` or have a
    /// default. A name that stands several times is an error for a field of a struct; `Vec<(String, String)>` has all pairs.
    /// A list such as `ids=1,2` is one string.
    ///
    /// # Errors
    ///
    /// 400 with serde's message if the query does not fit the type.
    ///
    /// # Examples
    ///
    /// ```
    /// use micro_smol::{Request, Result};
    /// use serde::Deserialize;
    ///
    /// #[derive(Deserialize)]
    /// struct Page {
    ///     number: u32,
    /// }
    ///
    /// async fn handler(req: Request) -> Result<u32> {
    ///     let page: Page = req.query()?;
    ///     Ok(page.number)
    /// }
    ///
    /// let ask = |target| smol::block_on(micro_smol::respond(&handler, Request::get(target)));
    /// assert_eq!(smol::block_on(ask("/?number=7").body_string()).unwrap(), "7");
    /// assert_eq!(smol::block_on(ask("/").body_string()).unwrap(), "Invalid query: missing field `number`");
    /// ```
    pub fn query<T: DeserializeOwned>(&self) -> Result<T> {
        serde_urlencoded::from_str(self.query_string().unwrap_or_default()).map_err(|error| invalid("query", error))
    }

    /// Returns the value of the first field of a name, which is compared without case.
    ///
    /// `None` if there is none, or if its value is not UTF-8; [`header_bytes`](Self::header_bytes) has that.
    ///
    /// # Examples
    ///
    /// ```
    /// use micro_smol::Request;
    ///
    /// let req = Request::get("/").with_header("user-agent", "curl");
    /// assert_eq!(req.header("User-Agent"), Some("curl"));
    /// assert_eq!(req.header("accept"), None);
    /// ```
    pub fn header(&self, name: &str) -> Option<&str> {
        self.header_bytes(name).and_then(|value| str::from_utf8(value).ok())
    }

    /// Returns the value of the first field of a name as bytes, which may be above 0x7F (RFC 9110, 5.5).
    ///
    /// # Examples
    ///
    /// ```
    /// assert_eq!(micro_smol::Request::default().header_bytes("x-name"), None);
    /// ```
    pub fn header_bytes(&self, name: &str) -> Option<&[u8]> {
        self.head.fields.values(name).next()
    }

    /// Returns all fields in order: names as they were received or set, and values without the white space around them.
    ///
    /// # Examples
    ///
    /// ```
    /// use micro_smol::Request;
    ///
    /// let req = Request::get("/").with_header("Accept", "text/html").with_header("cookie", "a=1");
    /// assert_eq!(req.headers().collect::<Vec<_>>(), [("Accept", &b"text/html"[..]), ("cookie", b"a=1")]);
    /// ```
    pub fn headers(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.head.fields.iter()
    }

    /// Sets a field in place of all fields of its name.
    ///
    /// # Examples
    ///
    /// ```
    /// let mut req = micro_smol::Request::get("/").with_header("x-id", "1");
    /// req.insert_header("X-Id", "2");
    /// assert_eq!(req.header("x-id"), Some("2"));
    /// ```
    pub fn insert_header(&mut self, name: &str, value: impl AsRef<str>) {
        self.remove_header(name);
        self.append_header(name, value);
    }

    /// Adds a field behind the others.
    ///
    /// # Examples
    ///
    /// ```
    /// let mut req = micro_smol::Request::get("/");
    /// req.append_header("accept", "text/html");
    /// assert_eq!(req.headers().count(), 1);
    /// ```
    pub fn append_header(&mut self, name: &str, value: impl AsRef<str>) {
        Arc::make_mut(&mut self.head).fields.append(name, value.as_ref());
    }

    /// Removes all fields of a name.
    ///
    /// # Examples
    ///
    /// ```
    /// let mut req = micro_smol::Request::get("/").with_header("x-user", "root");
    /// req.remove_header("X-User");
    /// assert_eq!(req.header("x-user"), None);
    /// ```
    pub fn remove_header(&mut self, name: &str) {
        Arc::make_mut(&mut self.head).fields.remove(name);
    }

    /// Returns the media type of the content; `None` if Content-Type is missing or malformed.
    ///
    /// # Examples
    ///
    /// ```
    /// let req = micro_smol::Request::post("/").with_body("hello");
    /// assert_eq!(req.content_type().unwrap().essence(), "text/plain");
    /// ```
    pub fn content_type(&self) -> Option<Mime> {
        self.header("content-type")?.parse().ok()
    }

    /// Returns the authority of an absolute target, else that of Host, with the port if there is one.
    ///
    /// # Examples
    ///
    /// ```
    /// use micro_smol::Request;
    ///
    /// assert_eq!(Request::get("http://example.com:80/").host(), Some("example.com:80"));
    /// assert_eq!(Request::get("/").with_header("host", "a").host(), Some("a"));
    /// ```
    pub fn host(&self) -> Option<&str> {
        self.head.authority().or_else(|| self.header("host")).filter(|host| !host.is_empty())
    }

    /// Builds the target URI (RFC 9110, 7.1), normalised as a URL is. It costs some microseconds.
    ///
    /// Its authority is [`host`](Self::host), else that of the server, else `localhost`.
    ///
    /// # Examples
    ///
    /// ```
    /// use micro_smol::Request;
    ///
    /// let req = Request::get("/a/../b?c").with_header("host", "example.com");
    /// assert_eq!(req.url().as_str(), "http://example.com/b?c");
    /// ```
    pub fn url(&self) -> Url {
        self.to_http_types().url().clone()
    }

    /// Returns the version of HTTP of the request: 1.0 or 1.1. A later 1.x counts as 1.1 (RFC 9110, 2.5).
    ///
    /// # Examples
    ///
    /// ```
    /// use micro_smol::{Request, http_types::Version};
    ///
    /// assert_eq!(Request::default().version(), Version::Http1_1);
    /// ```
    pub fn version(&self) -> Version {
        self.head.version
    }

    /// Returns the address of the other end of the connection; `None` for a Unix socket, and without a server.
    ///
    /// Behind a proxy that is the proxy's. An endpoint such as `tcp://[::]:3000` also accepts IPv4, whose addresses appear
    /// as IPv4.
    ///
    /// # Examples
    ///
    /// ```
    /// assert_eq!(micro_smol::Request::default().peer_addr(), None);
    /// ```
    pub fn peer_addr(&self) -> Option<SocketAddr> {
        self.context.peer_addr
    }

    /// Returns the length of the content in bytes, if it is known: as declared until it has been read, then as it is.
    ///
    /// `None` for a chunked body that has not been read. It is 0 without content and after [`take_body`](Self::take_body).
    ///
    /// # Examples
    ///
    /// ```
    /// assert_eq!(micro_smol::Request::post("/").with_body("hello").len(), Some(5));
    /// ```
    #[expect(clippy::len_without_is_empty, reason = "a length that is unknown is neither")]
    pub fn len(&self) -> Option<usize> {
        self.payload.length().and_then(|length| usize::try_from(length).ok())
    }

    /// Takes the body out, to read it piece by piece; the request has no content then.
    ///
    /// A read fails with the status of the fault, also by `?`: 400 if the body ends early or is malformed, 408 if it is slower
    /// than `body_timeout`. There is no limit. The body knows its length up to 64 KiB.
    ///
    /// # Examples
    ///
    /// ```
    /// use micro_smol::{IntoResponse, Request, stream};
    ///
    /// /// Sends the content back as it comes.
    /// async fn handler(mut req: Request) -> impl IntoResponse {
    ///     stream(req.take_body())
    /// }
    ///
    /// let req = Request::post("/").with_body("hello");
    /// let mut response = smol::block_on(micro_smol::respond(&handler, req));
    /// assert_eq!(smol::block_on(response.body_string()).unwrap(), "hello");
    /// ```
    pub fn take_body(&mut self) -> Body {
        self.payload.take()
    }

    /// Sets the body, and Content-Type to that of the body if there is none.
    ///
    /// # Examples
    ///
    /// ```
    /// use micro_smol::{Request, text};
    ///
    /// let mut req = Request::post("/");
    /// req.set_body("hello");
    /// assert_eq!(smol::block_on(text(&req)).unwrap(), "hello");
    /// ```
    pub fn set_body(&mut self, body: impl Into<Body>) {
        let body = body.into();
        if self.header_bytes("content-type").is_none() {
            self.append_header("content-type", body.mime().to_string());
        }
        self.payload = body.into();
    }

    /// Returns the values that wrappers have left for the handler, by their type.
    ///
    /// # Examples
    ///
    /// ```
    /// use micro_smol::{Handler, Request, Result, Status, respond};
    ///
    /// struct User(String);
    ///
    /// fn with_user(handler: impl Handler) -> impl Handler {
    ///     async move |mut req: Request| {
    ///         let user = User(req.header("x-user").status(401)?.to_owned());
    ///         req.ext_mut().insert(user);
    ///         handler.call(req).await
    ///     }
    /// }
    ///
    /// async fn handler(req: Request) -> Result<String> {
    ///     let User(name) = req.ext().get().status(500)?;
    ///     Ok(format!("Hello, {name}"))
    /// }
    ///
    /// let ask = |req| smol::block_on(respond(&with_user(handler), req));
    /// assert_eq!(ask(Request::get("/")).status(), 401);
    /// let mut response = ask(Request::get("/").with_header("x-user", "ann"));
    /// assert_eq!(smol::block_on(response.body_string()).unwrap(), "Hello, ann");
    /// ```
    pub fn ext(&self) -> &Extensions {
        static NONE: LazyLock<Extensions> = LazyLock::new(Extensions::default);
        self.extensions.as_deref().unwrap_or(&NONE)
    }

    /// Returns the values that wrappers leave for the handler, to insert or remove one; see [`ext`](Self::ext).
    ///
    /// # Examples
    ///
    /// ```
    /// let mut req = micro_smol::Request::default();
    /// req.ext_mut().insert(7_u8);
    /// assert_eq!(req.ext().get::<u8>(), Some(&7));
    /// ```
    pub fn ext_mut(&mut self) -> &mut Extensions {
        self.extensions.get_or_insert_default()
    }

    /// Returns a future that is ready when the server was told to stop, so that an event stream can end by itself.
    ///
    /// It is never ready without a server, as in [`respond`](super::respond) and
    /// [`serve_connection`](super::serve_connection).
    ///
    /// # Examples
    ///
    /// ```
    /// use micro_smol::{IntoResponse, Request, chunks};
    /// use smol::stream::{self, StreamExt};
    /// use smol::{Timer, future::FutureExt};
    /// use std::{io, time::Duration};
    ///
    /// /// Ticks each second until the server stops.
    /// async fn handler(req: Request) -> impl IntoResponse {
    ///     let ticks = stream::unfold(Box::pin(req.stopping()), |mut stopping| async {
    ///         let tick = async {
    ///             Timer::after(Duration::from_secs(1)).await;
    ///             Some(io::Result::Ok("tick\n"))
    ///         };
    ///         let stopped = async {
    ///             stopping.as_mut().await;
    ///             None
    ///         };
    ///         Some((tick.or(stopped).await?, stopping))
    ///     });
    ///     chunks(ticks)
    /// }
    /// # let _ = micro_smol::serve(handler);
    /// ```
    pub fn stopping(&self) -> impl Future<Output = ()> + Send + 'static + use<> {
        let stopping = self.context.stopping.clone();
        async move {
            match stopping {
                // Nothing is sent: it ends when the channel is closed.
                Some(stopping) => drop(stopping.recv().await),
                None => std::future::pending().await,
            }
        }
    }

    /// Makes a request for a test or a call of another handler; it has no peer and no content.
    ///
    /// The target is a path with or without a query, or an absolute URI, and is taken as it is.
    ///
    /// # Examples
    ///
    /// ```
    /// use micro_smol::{Method, Request};
    ///
    /// let req = Request::new(Method::Delete, "/tea?all");
    /// assert_eq!((req.path(), req.query_string()), ("/tea", Some("all")));
    /// assert_eq!(Request::get("http://example.com/tea").host(), Some("example.com"));
    /// ```
    pub fn new(method: Method, target: &str) -> Self {
        let (authority, target) = split_absolute(target).map_or((None, target), |(host, path)| (Some(host), path));
        Request { head: Arc::new(Head::new(method, Version::Http1_1, authority, target)), ..Request::default() }
    }

    /// Makes a GET; see [`new`](Self::new).
    ///
    /// # Examples
    ///
    /// ```
    /// assert_eq!(micro_smol::Request::get("/a?b=c").query_string(), Some("b=c"));
    /// ```
    pub fn get(target: &str) -> Self {
        Request::new(Method::Get, target)
    }

    /// Makes a POST; see [`new`](Self::new).
    ///
    /// # Examples
    ///
    /// ```
    /// let req = micro_smol::Request::post("/").with_body("hello");
    /// assert_eq!(req.len(), Some(5));
    /// ```
    pub fn post(target: &str) -> Self {
        Request::new(Method::Post, target)
    }

    pub(super) fn received(head: Arc<Head>, context: Arc<ConnectionContext>, payload: Payload) -> Self {
        Request { head, context, payload, extensions: None }
    }

    /// Sets a field in place of all fields of its name and returns the request, for use in an expression.
    ///
    /// # Examples
    ///
    /// ```
    /// let req = micro_smol::Request::get("/").with_header("accept", "text/html");
    /// assert_eq!(req.header("accept"), Some("text/html"));
    /// ```
    #[must_use]
    pub fn with_header(mut self, name: &str, value: impl AsRef<str>) -> Self {
        self.insert_header(name, value);
        self
    }

    /// Sets the body and returns the request; see [`set_body`](Self::set_body).
    ///
    /// # Examples
    ///
    /// ```
    /// use micro_smol::{Request, json};
    ///
    /// let req = Request::post("/").with_body(json!([1, 2]));
    /// assert_eq!(smol::block_on(json::<Vec<u8>>(&req)).unwrap(), [1, 2]);
    /// ```
    #[must_use]
    pub fn with_body(mut self, body: impl Into<Body>) -> Self {
        self.set_body(body);
        self
    }

    /// Makes an http-types request of method, version and target. It does not fail, whatever was received.
    fn to_http_types(&self) -> http_types::Request {
        let mut request = http_types::Request::new(self.method(), "http://localhost/");
        request.set_version(Some(self.version()));
        let authorities = self.host().into_iter().chain(self.context.authority.as_deref());
        if let Some(url) = authorities.filter_map(|authority| Url::parse(&format!("http://{authority}/")).ok()).next() {
            *request.url_mut() = url;
        }
        request.url_mut().set_path(self.path().trim_start_matches('*'));
        request.url_mut().set_query(self.query_string());
        request
    }
}

impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("Request");
        debug.field("method", &self.method()).field("path", &self.path()).field("query_string", &self.query_string());
        debug.finish_non_exhaustive()
    }
}

impl From<http_types::Request> for Request {
    fn from(mut request: http_types::Request) -> Self {
        let version = request.version().unwrap_or(Version::Http1_1);
        let url = request.url();
        let authority = url.host_str().map(|host| url.port().map_or(host.to_owned(), |port| format!("{host}:{port}")));
        let target = url.query().map_or(url.path().to_owned(), |query| format!("{}?{query}", url.path()));
        let mut head = Head::new(request.method(), version, authority.as_deref(), &target);
        for (name, values) in &request {
            values.iter().for_each(|value| head.fields.append(name.as_str(), value.as_str()));
        }
        let peer_addr = request.peer_addr().and_then(|addr| addr.parse().ok());
        Request {
            head: Arc::new(head),
            context: Arc::new(ConnectionContext { peer_addr, ..ConnectionContext::default() }),
            payload: request.take_body().into(),
            extensions: Some(Box::new(mem::take(request.ext_mut()))),
        }
    }
}

impl From<Request> for http_types::Request {
    fn from(mut request: Request) -> Self {
        let mut made = request.to_http_types();
        made.set_peer_addr(request.peer_addr());
        made.set_body(request.take_body());
        // http-types has made one up.
        made.remove_header(CONTENT_TYPE);
        for (name, value) in request.headers() {
            if let Ok(name) = name.parse::<HeaderName>() {
                made.append_header(name, percent_encoded(value));
            }
        }
        // The authority of an absolute target wins over Host (RFC 9112, 3.2.2).
        if let Some(authority) = request.head.authority() {
            made.insert_header(HOST, authority);
        }
        *made.ext_mut() = request.extensions.map_or_else(Extensions::default, |extensions| *extensions);
        made
    }
}

/// http-types panics on bytes above 0x7F, which are legal in a field value (RFC 9110, 5.5).
fn percent_encoded(value: &[u8]) -> String {
    let encode = |byte: &u8| if byte.is_ascii() { char::from(*byte).to_string() } else { format!("%{byte:02X}") };
    value.iter().map(encode).collect()
}
