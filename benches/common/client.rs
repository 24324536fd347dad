//! A client of HTTP/1.1 that costs little: one connection that stays open, requests made of text.
#![allow(dead_code, reason = "each benchmark uses a part of it")]

use std::{
    io::{self, BufRead as _, BufReader, Read, Write as _},
    net::{SocketAddr, TcpStream, ToSocketAddrs as _},
};

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};

/// What every request to our own servers has.
pub(crate) const TOKEN: &str = "bench-4Jq3vT8rw1Zu5mB2xKd7";

/// A server that has states.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    pub(crate) address: SocketAddr,
    /// `{n}` is the number of the state.
    path: String,
    authorization: String,
}

impl Target {
    /// One of ours.
    pub(crate) fn ours(address: SocketAddr) -> Self {
        Self { address, path: "/bench/s{n}".to_owned(), authorization: BASE64.encode(format!("tofustate:{TOKEN}")) }
    }

    /// From `http://<user>:<password>@<address>/<path>`.
    pub(crate) fn parse(url: &str) -> Option<Self> {
        let (authority, path) = url.strip_prefix("http://")?.split_once('/')?;
        let (credentials, address) = authority.split_once('@')?;
        let address = address.to_socket_addrs().ok()?.next()?;
        path.contains("{n}").then(|| Self {
            address,
            path: format!("/{path}"),
            authorization: BASE64.encode(credentials),
        })
    }

    /// The same server with states of another name.
    pub(crate) fn renamed(self, name: &str) -> Self {
        let (folder, last) = self.path.rsplit_once('/').unwrap_or_default();
        Self { path: format!("{folder}/{name}-{last}"), ..self }
    }

    /// The path of a state.
    pub(crate) fn path(&self, state: usize) -> String {
        self.path.replace("{n}", &state.to_string())
    }
}

/// One connection.
pub(crate) struct Connection {
    stream: BufReader<TcpStream>,
    host: String,
    /// Lines that every request has, each with its end.
    headers: String,
    /// The request, then the lines of the answer.
    text: Vec<u8>,
}

/// What an answer began with.
pub(crate) struct Answer {
    pub(crate) status: u16,
    length: Length,
}

#[derive(Clone, Copy)]
enum Length {
    Known(u64),
    Chunked,
}

impl Connection {
    pub(crate) fn open(target: &Target) -> io::Result<Self> {
        Self::with_headers(target.address, format!("Authorization: Basic {}\r\n", target.authorization))
    }

    pub(crate) fn with_headers(address: SocketAddr, headers: String) -> io::Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        Ok(Self {
            stream: BufReader::with_capacity(64 * 1024, stream),
            host: address.to_string(),
            headers,
            text: Vec::new(),
        })
    }

    /// A request with a body that is there, in one write, and its whole answer.
    pub(crate) fn call(
        &mut self,
        method: &str,
        path: &str,
        md5: Option<&str>,
        body: &[u8],
        into: &mut Vec<u8>,
    ) -> io::Result<u16> {
        self.head(method, path, md5, body.len() as u64)?;
        self.text.extend_from_slice(body);
        self.stream.get_mut().write_all(&self.text)?;
        let answer = self.answer()?;
        into.clear();
        self.body(&answer, |piece| into.extend_from_slice(piece))?;
        Ok(answer.status)
    }

    /// The head of a request whose body is sent with [`send`](Self::send).
    pub(crate) fn begin(&mut self, method: &str, path: &str, length: u64) -> io::Result<()> {
        self.head(method, path, None, length)?;
        self.stream.get_mut().write_all(&self.text)
    }

    pub(crate) fn send(&mut self, piece: &[u8]) -> io::Result<()> {
        self.stream.get_mut().write_all(piece)
    }

    fn head(&mut self, method: &str, path: &str, md5: Option<&str>, length: u64) -> io::Result<()> {
        let Self { host, headers, text, .. } = self;
        text.clear();
        write!(text, "{method} {path} HTTP/1.1\r\nHost: {host}\r\n{headers}")?;
        if length > 0 {
            write!(text, "Content-Type: application/json\r\nContent-Length: {length}\r\n")?;
        }
        if let Some(md5) = md5 {
            write!(text, "Content-MD5: {md5}\r\n")?;
        }
        text.extend_from_slice(b"\r\n");
        Ok(())
    }

    /// Reads the head of the answer.
    pub(crate) fn answer(&mut self) -> io::Result<Answer> {
        let odd = || io::Error::other("an answer that is not HTTP/1.1");
        let status = self.line()?.split(' ').nth(1).and_then(|code| code.parse().ok()).ok_or_else(odd)?;
        let mut length = Length::Known(0);
        loop {
            let line = self.line()?;
            let Some((name, value)) = line.split_once(':') else { break };
            if name.eq_ignore_ascii_case("content-length") {
                length = Length::Known(value.trim().parse().map_err(|_| odd())?);
            } else if name.eq_ignore_ascii_case("transfer-encoding") {
                length = Length::Chunked;
            }
        }
        Ok(Answer { status, length })
    }

    /// Reads the body of the answer.
    pub(crate) fn body(&mut self, answer: &Answer, mut take: impl FnMut(&[u8])) -> io::Result<u64> {
        match answer.length {
            Length::Known(length) => self.pieces(length, &mut take),
            Length::Chunked => {
                let mut all = 0;
                loop {
                    let size = u64::from_str_radix(self.line()?.trim(), 16).map_err(io::Error::other)?;
                    all += self.pieces(size, &mut take)?;
                    self.line()?;
                    if size == 0 {
                        return Ok(all);
                    }
                }
            }
        }
    }

    fn pieces(&mut self, length: u64, take: &mut impl FnMut(&[u8])) -> io::Result<u64> {
        let mut rest = self.stream.by_ref().take(length);
        while rest.limit() > 0 {
            let piece = rest.fill_buf()?;
            if piece.is_empty() {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            let size = piece.len();
            take(piece);
            rest.consume(size);
        }
        Ok(length)
    }

    fn line(&mut self) -> io::Result<&str> {
        self.text.clear();
        if self.stream.read_until(b'\n', &mut self.text)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        std::str::from_utf8(&self.text).map(str::trim_end).map_err(io::Error::other)
    }
}

/// What a server says on a path without a state.
pub(crate) fn get(address: SocketAddr, path: &str) -> io::Result<(u16, Vec<u8>)> {
    let mut body = Vec::new();
    let status = Connection::open(&Target::ours(address))?.call("GET", path, None, &[], &mut body)?;
    Ok((status, body))
}
