//! Clients at work: LOCK, GET, POST, UNLOCK, each cycle with new bytes and the next serial.
#![allow(dead_code, reason = "each benchmark uses a part of it")]

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    thread,
    time::{Duration, Instant},
};

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use md5::{Digest as _, Md5};

use crate::{
    client::{Connection, Target},
    lock_info::lock_info,
    process, states,
};

/// How long a client waits that was refused the lock.
const WAIT: Duration = Duration::from_millis(1);
/// How long it tries: the holder may have ended with a fault.
const PATIENCE: Duration = Duration::from_secs(30);

/// So many clients, on so many states.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Load {
    pub(crate) clients: usize,
    pub(crate) states: usize,
    /// Cycles of each state before the first that counts: the history is full then.
    pub(crate) warm_up: usize,
    /// Cycles of each state that count.
    pub(crate) cycles: usize,
}

impl Load {
    pub(crate) fn name(&self) -> String {
        match (self.clients, self.states) {
            (1, _) => "one client".to_owned(),
            (clients, 1) => format!("{clients} clients on one state"),
            (clients, states) => format!("{clients} clients on {states} states"),
        }
    }
}

/// A body that a client writes, and its MD5.
pub(crate) type Body = (Vec<u8>, String);

/// What the clients write to each state, by serial.
pub(crate) struct Bodies(Vec<Arc<Vec<Body>>>);

/// A server, and what a cycle is on it.
pub(crate) trait Way: Sync {
    /// A connection of one client.
    fn open(&self) -> io::Result<Connection>;

    /// What names a state.
    fn path(&self, state: usize) -> String;

    /// One cycle; answers how often the lock was refused. `answer` is a buffer to use.
    fn cycle(
        &self,
        connection: &mut Connection,
        work: &Work<'_>,
        number: usize,
        answer: &mut Vec<u8>,
    ) -> Result<usize, String>;
}

impl Bodies {
    pub(crate) fn new(load: &Load, size: usize) -> Self {
        Self((0..load.states).map(|state| Arc::new(bodies(load, state, size))).collect())
    }

    /// The same for all states: where they are large.
    pub(crate) fn shared(load: &Load, size: usize) -> Self {
        let all = Arc::new(bodies(load, 0, size));
        Self(vec![all; load.states])
    }
}

fn bodies(load: &Load, state: usize, size: usize) -> Vec<Body> {
    let body = |serial: usize| {
        let body = states::whole(state as u64 + 1, serial as u64, size);
        let md5 = BASE64.encode(Md5::digest(&body));
        (body, md5)
    };
    (0..load.warm_up + load.cycles).map(body).collect()
}

/// What a number of cycles showed.
pub(crate) struct Figures {
    /// Cycles a second.
    pub(crate) rate: f64,
    /// Milliseconds of one cycle, the median.
    pub(crate) wall: f64,
    /// Milliseconds of the server's processors for one cycle.
    pub(crate) processor: f64,
    /// LOCKs that were refused, for one cycle.
    pub(crate) refused: f64,
}

/// Clients of one server, connected and warm.
pub(crate) struct Clients<'a> {
    way: Box<dyn Way + 'a>,
    connections: Vec<Connection>,
    states: Vec<Work<'a>>,
    pid: Option<u32>,
    /// Cycles of each state so far.
    done: usize,
}

impl<'a> Clients<'a> {
    /// Connects, and runs the cycles that do not count.
    ///
    /// # Errors
    /// What a server answered otherwise than it should, in words.
    pub(crate) fn new(load: &Load, bodies: &'a Bodies, way: impl Way + 'a, pid: Option<u32>) -> Result<Self, String> {
        let open = |_| way.open().map_err(|error| format!("no connection: {error}"));
        let connections = (0..load.clients).map(open).collect::<Result<Vec<_>, String>>()?;
        let states = (0..load.states).map(|number| Work::new(way.path(number), &bodies.0[number])).collect();
        let mut clients = Self { way: Box::new(way), connections, states, pid, done: 0 };
        clients.go(load.warm_up)?;
        Ok(clients)
    }

    /// So many cycles more on each state.
    ///
    /// # Errors
    /// As [`Clients::new`].
    pub(crate) fn go(&mut self, cycles: usize) -> Result<Figures, String> {
        self.done += cycles;
        let before = self.pid.map_or(f64::NAN, process::processor);
        let begin = Instant::now();
        let (mut taken, refused) = phase(self.way.as_ref(), &mut self.connections, &self.states, self.done)?;
        let seconds = begin.elapsed().as_secs_f64();
        let used = self.pid.map_or(f64::NAN, process::processor) - before;
        let cycles = (self.states.len() * cycles) as f64;
        taken.sort_unstable();
        Ok(Figures {
            rate: cycles / seconds,
            wall: taken[taken.len() / 2].as_secs_f64() * 1e3,
            processor: used * 1e3 / cycles,
            refused: refused as f64 / cycles,
        })
    }
}

/// One state, and how far its clients are.
pub(crate) struct Work<'a> {
    pub(crate) path: String,
    pub(crate) bodies: &'a [Body],
    /// Cycles that were begun.
    begun: AtomicUsize,
    /// Bodies that were taken, under the lock.
    pub(crate) taken: AtomicUsize,
}

impl<'a> Work<'a> {
    fn new(path: String, bodies: &'a [Body]) -> Self {
        Self { path, bodies, begun: AtomicUsize::new(0), taken: AtomicUsize::new(0) }
    }

    /// A number of the next cycle, until there were `until`.
    fn next(&self, until: usize) -> Option<usize> {
        self.begun.try_update(Relaxed, Relaxed, |begun| (begun < until).then_some(begun + 1)).ok()
    }
}

/// All clients, until each state had `until` cycles.
fn phase(
    way: &dyn Way,
    connections: &mut [Connection],
    states: &[Work],
    until: usize,
) -> Result<(Vec<Duration>, usize), String> {
    thread::scope(|scope| {
        let clients: Vec<_> = connections
            .iter_mut()
            .enumerate()
            .map(|(client, connection)| {
                let work = &states[client % states.len()];
                scope.spawn(move || {
                    let (mut taken, mut refused, mut answer) = (Vec::new(), 0, Vec::new());
                    while let Some(number) = work.next(until) {
                        let begin = Instant::now();
                        refused += way.cycle(connection, work, number, &mut answer)?;
                        taken.push(begin.elapsed());
                    }
                    Ok::<_, String>((taken, refused))
                })
            })
            .collect();
        let (mut all, mut refused) = (Vec::new(), 0);
        for client in clients {
            let (taken, times) = client.join().unwrap()?;
            all.extend(taken);
            refused += times;
        }
        Ok((all, refused))
    })
}

/// The protocol.
impl Way for Target {
    fn open(&self) -> io::Result<Connection> {
        Connection::open(self)
    }

    fn path(&self, state: usize) -> String {
        Self::path(self, state)
    }

    fn cycle(
        &self,
        connection: &mut Connection,
        work: &Work<'_>,
        number: usize,
        answer: &mut Vec<u8>,
    ) -> Result<usize, String> {
        let (id, info) = lock_info(number as u64);
        let (path, info) = (work.path.as_str(), info.as_bytes());
        let (begin, mut refused) = (Instant::now(), 0);
        while ask(connection, answer, ("LOCK", path), None, info, &[200, 409, 423])? != 200 {
            refused += 1;
            if begin.elapsed() > PATIENCE {
                return Err("LOCK: refused all the time".to_owned());
            }
            thread::sleep(WAIT);
        }
        let serial = work.taken.fetch_add(1, Relaxed);
        ask(connection, answer, ("GET", path), None, &[], &[200, 404])?;
        if serial > 0 && *answer != work.bodies[serial - 1].0 {
            return Err("GET: not what the holder of the lock before this one wrote".to_owned());
        }
        let (body, md5) = &work.bodies[serial];
        ask(connection, answer, ("POST", &format!("{path}?ID={id}")), Some(md5), body, &[200])?;
        ask(connection, answer, ("UNLOCK", path), None, info, &[200])?;
        Ok(refused)
    }
}

/// Asks, and takes no other answers than good ones.
pub(crate) fn ask(
    connection: &mut Connection,
    answer: &mut Vec<u8>,
    (method, path): (&str, &str),
    md5: Option<&str>,
    body: &[u8],
    good: &[u16],
) -> Result<u16, String> {
    let status = connection.call(method, path, md5, body, answer).map_err(|error| format!("{method}: {error}"))?;
    if good.contains(&status) {
        return Ok(status);
    }
    Err(format!("{method}: {status} {}", String::from_utf8_lossy(&answer[..answer.len().min(200)])))
}
