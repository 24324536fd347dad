//! States of 256 MiB over OpenBao and back, byte for byte, in a process of its own: what memory that takes at the most.

use std::{
    env,
    fs::{self, File},
    io::{BufRead as _, BufReader, BufWriter, Read, Write},
    net::TcpStream,
    path::Path,
    process::{Child, Command, Stdio},
    thread,
};

use tempfile::TempDir;
use tofustate::openbao::{Address, Settings};

use crate::{
    replica::{Options, Replica, TOKEN},
    states,
    world::World,
};

const SIZE: u64 = 256 << 20;
const PATHS: [&str; 4] = ["team/a", "team/b", "team/c", "team/d"];
const PIECE: usize = 64 << 10;

/// The process that serves. It ends with its standard input.
struct Server {
    child: Child,
    address: String,
}

impl Server {
    fn start(world: &World) -> Self {
        let mut child = Command::new(env::current_exe().unwrap())
            .args(["--exact", "memory::as_the_child", "--nocapture", "--test-threads=1"])
            .env("TOFUSTATE_MEMORY_CHILD", world.server.url(0))
            .env("TOFUSTATE_MEMORY_FOLDER", world.folder.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let address = lines.find_map(|line| Some(line.unwrap().strip_prefix("serves at http://")?.to_owned())).unwrap();
        // What the harness says at the end has to go somewhere.
        thread::spawn(move || lines.for_each(drop));
        Self { child, address }
    }

    /// The most memory that it had since the last call, in MiB.
    fn peak(&self) -> u64 {
        let process = Path::new("/proc").join(self.child.id().to_string());
        let status = fs::read_to_string(process.join("status")).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        fs::write(process.join("clear_refs"), "5").unwrap();
        line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() / 1024
    }

    fn send(&self, method: &str, path: &str, size: u64) -> TcpStream {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        let head = format!(
            "{method} /{path} HTTP/1.1\r\nHost: test\r\nAuthorization: Bearer {TOKEN}\r\nContent-Length: {size}\r\nConnection: close\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).unwrap();
        stream
    }

    fn post(&self, path: &str, file: &Path, size: u64) {
        let mut stream = self.send("POST", path, size);
        copy(&mut File::open(file).unwrap(), |piece| stream.write_all(piece).unwrap());
        assert_eq!(answer(&mut BufReader::new(stream)), (200, 0));
    }

    /// Compares what comes with the file.
    fn get(&self, path: &str, file: &Path, size: u64) {
        let mut stream = BufReader::with_capacity(PIECE, self.send("GET", path, 0));
        assert_eq!(answer(&mut stream), (200, size));
        let mut file = File::open(file).unwrap();
        let (mut expected, mut came) = (vec![0; PIECE], 0);
        copy(&mut stream, |piece| {
            let expected = &mut expected[..piece.len()];
            file.read_exact(expected).unwrap();
            assert!(piece == expected, "other bytes came back");
            came += piece.len() as u64;
        });
        assert_eq!(came, size);
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // An error: it has ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn copy(from: &mut impl Read, mut to: impl FnMut(&[u8])) {
    let mut piece = vec![0; PIECE];
    loop {
        match from.read(&mut piece).unwrap() {
            0 => return,
            got => to(&piece[..got]),
        }
    }
}

/// The status and the length that an answer says.
fn answer(stream: &mut impl std::io::BufRead) -> (u16, u64) {
    let mut lines = stream.lines().map(Result::unwrap);
    let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
    let head: Vec<_> = lines.take_while(|line| !line.is_empty()).map(|line| line.to_ascii_lowercase()).collect();
    let length = head.iter().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok());
    (status, length.unwrap_or(0))
}

#[test]
fn states_of_256_mib_take_little_memory() {
    let name = "states_of_256_mib_take_little_memory";
    let Some(world) = World::set_up(name) else { return };
    let file = world.folder.path().join("state.json");
    let mut out = BufWriter::new(File::create(&file).unwrap());
    states::Pieces::new(3, 1, SIZE).for_each(|piece| out.write_all(piece.as_bytes()).unwrap());
    let size = out.into_inner().unwrap().metadata().unwrap().len();
    assert!(size > SIZE - (16 << 10), "{size}");
    for (at_once, most) in [(1, 96), (4, 256)] {
        let server = Server::start(&world);
        let idle = server.peak();
        let all = |way: fn(&Server, &str, &Path, u64)| {
            thread::scope(|scope| {
                for path in &PATHS[..at_once] {
                    scope.spawn(|| way(&server, path, &file, size));
                }
            });
            server.peak()
        };
        let (post, get) = (all(Server::post), all(Server::get));
        println!("{name}: {at_once} at once: {idle} MiB idle, {post} MiB written, {get} MiB read");
        assert!(post < most && get < most, "{at_once} at once took {post} and {get} MiB; {most} are allowed");
    }
}

/// Not a test: the process that serves, as this same binary.
#[test]
fn as_the_child() {
    let Ok(url) = env::var("TOFUSTATE_MEMORY_CHILD") else { return };
    let folder = TempDir::new().unwrap();
    let settings = Settings::new(vec![Address::parse(&url, false).unwrap()]);
    let operator = Path::new(&env::var_os("TOFUSTATE_MEMORY_FOLDER").unwrap()).join("operator-token");
    let replica = Replica::at(settings, operator, folder.path().join("tokens"), Options::default());
    PATHS.iter().for_each(|path| drop(replica.serve(path)));
    // The harness has begun a line that it ends with the test.
    println!("\nserves at {}", replica.url);
    std::io::stdin().read_to_end(&mut Vec::new()).unwrap();
}
