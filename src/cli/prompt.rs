//! An admin's token: from a private file, or asked for on the terminal, which shows nothing of it.

use std::{
    fs::{File, OpenOptions},
    io::{self, Read as _, Write as _},
    path::Path,
};

use rustix::termios::{LocalModes, OptionalActions, SpecialCodeIndex, Termios, tcgetattr, tcsetattr};

use crate::{
    openbao::{BadToken, CredentialError, Token, read_token},
    store::Redacted,
};

/// Why there is no admin's token.
#[derive(Debug, thiserror::Error)]
pub(super) enum AdminTokenError {
    #[error("the admin's token: {0}")]
    File(#[from] CredentialError),
    #[error("the admin's token: {0}")]
    Bad(#[from] BadToken),
    #[error("there is no admin's token: name a file with --admin-token-file, or run this on a terminal ({0})")]
    Prompt(io::Error),
}

/// The admin's token: from the file, or from the terminal.
pub(super) fn admin_token(file: Option<&Path>) -> Result<Token, AdminTokenError> {
    match file {
        Some(file) => Ok(read_token(file)?),
        None => {
            let text = secret("The admin's token for OpenBao (it is not shown): ").map_err(AdminTokenError::Prompt)?;
            Ok(Token::parse(text.expose())?)
        }
    }
}

/// The terminal without echo, until this is dropped.
struct Silent {
    terminal: File,
    before: Termios,
}

impl Silent {
    fn open() -> io::Result<Self> {
        let terminal = OpenOptions::new().read(true).write(true).open("/dev/tty")?;
        let before = tcgetattr(&terminal)?;
        let mut silent = before.clone();
        // Signals too come as characters: one that ends the process would leave the terminal like this.
        silent.local_modes.remove(LocalModes::ECHO | LocalModes::ICANON | LocalModes::ISIG);
        silent.special_codes[SpecialCodeIndex::VMIN] = 1;
        silent.special_codes[SpecialCodeIndex::VTIME] = 0;
        tcsetattr(&terminal, OptionalActions::Flush, &silent)?;
        Ok(Self { terminal, before })
    }
}

impl Drop for Silent {
    fn drop(&mut self) {
        let _ = tcsetattr(&self.terminal, OptionalActions::Flush, &self.before);
        let _ = self.terminal.write_all(b"\n");
    }
}

/// Asks for one line.
fn secret(question: &str) -> io::Result<Redacted<String>> {
    let mut silent = Silent::open()?;
    silent.terminal.write_all(question.as_bytes())?;
    let line = line(|| {
        let mut key = [0];
        silent.terminal.read_exact(&mut key).map(|()| key[0])
    })?;
    String::from_utf8(line).map(Redacted::from).map_err(|_| io::Error::other("it is no text"))
}

/// The keys until Enter, as a terminal would edit them.
fn line(mut key: impl FnMut() -> io::Result<u8>) -> io::Result<Vec<u8>> {
    let mut line = Vec::new();
    loop {
        match key()? {
            b'\r' | b'\n' => return Ok(line),
            // Ctrl-C, Ctrl-D, Ctrl-\
            0x03 | 0x04 | 0x1c => return Err(io::ErrorKind::Interrupted.into()),
            // Backspace, Ctrl-U
            0x7f | 0x08 => drop(line.pop()),
            0x15 => line.clear(),
            byte => line.push(byte),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_edited_and_can_be_given_up() {
        let typed = |keys: &[u8]| {
            let mut keys = keys.iter().copied();
            line(|| keys.next().ok_or_else(|| io::ErrorKind::UnexpectedEof.into())).map_err(|error| error.kind())
        };
        assert_eq!(typed(b"s.abc\r").as_deref(), Ok(&b"s.abc"[..]));
        assert_eq!(typed(b"wrong\x15s.x\x7fabc\n").as_deref(), Ok(&b"s.abc"[..]));
        assert_eq!(typed(b"\x7f\x08s\n").as_deref(), Ok(&b"s"[..]));
        assert_eq!(typed(b"s.abc\x03"), Err(io::ErrorKind::Interrupted));
        assert_eq!(typed(b"s.abc"), Err(io::ErrorKind::UnexpectedEof));
    }
}
