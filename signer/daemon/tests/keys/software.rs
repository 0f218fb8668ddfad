//! The software keystore's file.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use signer::keys::software::{FILE, create, open, retire, rotate};
use signer::keys::{Keystore, OpenError};

fn refused(folder: &Path, passphrase: Option<&[u8]>) -> (OpenError, String) {
    let error = open(folder, passphrase).err().expect("opened");
    let sentence = error.to_string();
    (error, sentence)
}

/// The file with `at` replaced and the checksum made to fit, as a forger would.
fn forge(folder: &Path, at: usize, with: &[u8]) {
    use sha2::Digest as _;
    let path = folder.join(FILE);
    let mut bytes = fs::read(&path).unwrap();
    bytes[at..at + with.len()].copy_from_slice(with);
    let content = bytes.len() - 32;
    let checksum = sha2::Sha256::digest(&bytes[..content]);
    bytes[content..].copy_from_slice(&checksum);
    fs::write(path, bytes).unwrap();
}

#[test]
fn the_file_is_private_and_alone_in_its_folder() {
    let folder = tempfile::tempdir().unwrap();
    create(folder.path(), Some(b"open sesame")).unwrap();
    let mode = fs::metadata(folder.path().join(FILE)).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "no draft is left");
}

#[test]
fn it_is_never_overwritten() {
    let folder = tempfile::tempdir().unwrap();
    create(folder.path(), None).unwrap();
    let before = fs::read(folder.path().join(FILE)).unwrap();
    let error = create(folder.path(), None).unwrap_err();
    assert!(matches!(error, OpenError::FileExists(_)), "{error}");
    assert_eq!(fs::read(folder.path().join(FILE)).unwrap(), before);
}

#[test]
fn of_many_that_make_it_at_once_one_succeeds() {
    let folder = tempfile::tempdir().unwrap();
    let made = std::thread::scope(|threads| {
        let all: Vec<_> = (0..8).map(|_| threads.spawn(|| create(folder.path(), None))).collect();
        all.into_iter().map(|thread| thread.join().unwrap()).filter(Result::is_ok).count()
    });
    assert_eq!(made, 1);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "no draft is left");
    open(folder.path(), None).unwrap();
}

#[test]
fn a_passphrase_seals_it() {
    let folder = tempfile::tempdir().unwrap();
    create(folder.path(), Some(b"open sesame")).unwrap();
    let code = open(folder.path(), Some(b"open sesame")).unwrap().mac(b"m").unwrap();
    assert_eq!(open(folder.path(), Some(b"open sesame")).unwrap().mac(b"m").unwrap(), code);

    let (error, sentence) = refused(folder.path(), Some(b"open sesamE"));
    assert!(matches!(error, OpenError::WrongPassphrase(_)), "{sentence}");
    assert!(sentence.ends_with("keystore.bin is wrong") && !sentence.contains("sesam"), "{sentence}");
    let (error, sentence) = refused(folder.path(), None);
    assert!(matches!(error, OpenError::PassphraseNeeded(_)), "{sentence}");
}

#[test]
fn a_passphrase_that_seals_nothing_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    assert!(matches!(create(folder.path(), Some(b"")).unwrap_err(), OpenError::EmptyPassphrase));
    create(folder.path(), None).unwrap();
    let (error, sentence) = refused(folder.path(), Some(b"open sesame"));
    assert!(matches!(error, OpenError::NotSealed(_)), "{sentence}");
}

#[test]
fn a_missing_file_names_the_command_that_makes_it() {
    let folder = tempfile::tempdir().unwrap();
    let (error, sentence) = refused(folder.path(), None);
    assert!(matches!(error, OpenError::NoFile(_)) && sentence.contains("talon-signer init"), "{sentence}");
}

#[test]
fn a_file_that_others_can_read_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    create(folder.path(), None).unwrap();
    for mode in [0o640, 0o604, 0o620, 0o602, 0o610] {
        fs::set_permissions(folder.path().join(FILE), Permissions::from_mode(mode)).unwrap();
        let (error, sentence) = refused(folder.path(), None);
        assert!(matches!(error, OpenError::Exposed(_)) && sentence.contains("chmod 600"), "{sentence}");
    }
}

#[test]
fn links_and_folders_are_no_keystore() {
    let (folder, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    create(elsewhere.path(), None).unwrap();
    symlink(elsewhere.path().join(FILE), folder.path().join(FILE)).unwrap();
    let (error, sentence) = refused(folder.path(), None);
    assert!(matches!(error, OpenError::Io { .. }), "{sentence}");
    fs::remove_file(folder.path().join(FILE)).unwrap();
    fs::create_dir(folder.path().join(FILE)).unwrap();
    fs::set_permissions(folder.path().join(FILE), Permissions::from_mode(0o700)).unwrap();
    let (error, sentence) = refused(folder.path(), None);
    assert!(matches!(error, OpenError::Io { .. }), "{sentence}");
}

#[test]
fn every_damaged_byte_is_noticed() {
    for (passphrase, rotated) in
        [None, Some(&b"open sesame"[..])].into_iter().flat_map(|p| [(p, false), (p, true)])
    {
        let folder = tempfile::tempdir().unwrap();
        create(folder.path(), passphrase).unwrap();
        if rotated {
            rotate(folder.path(), passphrase).unwrap();
        }
        let path = folder.path().join(FILE);
        let whole = fs::read(&path).unwrap();
        for at in 0..whole.len() {
            let mut damaged = whole.clone();
            damaged[at] ^= 0x10;
            fs::write(&path, damaged).unwrap();
            let (error, sentence) = refused(folder.path(), passphrase);
            let newer = (8..10).contains(&at) && matches!(error, OpenError::Newer { .. });
            assert!(newer || matches!(error, OpenError::Damaged(_)), "byte {at}: {sentence}");
        }
        for length in 0..whole.len() {
            fs::write(&path, &whole[..length]).unwrap();
            let (error, sentence) = refused(folder.path(), passphrase);
            assert!(matches!(error, OpenError::Damaged(_)), "{length} bytes: {sentence}");
        }
        fs::write(&path, [&whole[..], &[0]].concat()).unwrap();
        assert!(matches!(refused(folder.path(), passphrase).0, OpenError::Damaged(_)));
    }
}

#[test]
fn a_newer_format_says_so() {
    let folder = tempfile::tempdir().unwrap();
    create(folder.path(), None).unwrap();
    forge(folder.path(), 8, &7u16.to_be_bytes());
    let (error, sentence) = refused(folder.path(), None);
    assert!(matches!(error, OpenError::Newer { found: 7, known: 2, .. }), "{sentence}");
    assert!(sentence.contains("format 7, made by a newer Talon"), "{sentence}");
}

#[test]
fn a_forged_header_is_noticed() {
    let folder = tempfile::tempdir().unwrap();
    create(folder.path(), Some(b"open sesame")).unwrap();
    let path = folder.path().join(FILE);
    let whole = fs::read(&path).unwrap();
    // Cheaper guesses, another salt, another nonce: the keys are bound to the header.
    for (at, with) in
        [(11, &8u32.to_be_bytes()[..]), (15, &1u32.to_be_bytes()), (23, &[0; 16]), (39, &[0; 12])]
    {
        forge(folder.path(), at, with);
        let (error, sentence) = refused(folder.path(), Some(b"open sesame"));
        assert!(matches!(error, OpenError::WrongPassphrase(_)), "at {at}: {sentence}");
        fs::write(&path, &whole).unwrap();
    }
    // A terabyte of memory for one guess.
    forge(folder.path(), 11, &0x4000_0000u32.to_be_bytes());
    let (error, sentence) = refused(folder.path(), Some(b"open sesame"));
    assert!(matches!(error, OpenError::Damaged(_)), "{sentence}");
}

#[test]
fn a_rotated_file_is_sealed_private_and_alone_and_the_old_bytes_are_gone() {
    for passphrase in [None, Some(&b"open sesame"[..])] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(FILE);
        create(folder.path(), passphrase).unwrap();
        let before = fs::read(&path).unwrap();
        // Another name for the same bytes on the disk, and what a rotation that was killed has left.
        let link = folder.path().join("link");
        fs::hard_link(&path, &link).unwrap();
        let draft = folder.path().join(format!(".{FILE}.0011"));
        fs::write(&draft, &before).unwrap();
        if passphrase.is_some() {
            let error = rotate(folder.path(), Some(b"open sesamE")).unwrap_err();
            assert!(matches!(error, OpenError::WrongPassphrase(_)), "{error}");
            assert!(matches!(rotate(folder.path(), None).unwrap_err(), OpenError::PassphraseNeeded(_)));
        }
        assert_eq!(fs::read(&path).unwrap(), before, "what can't be opened stays as it is");

        rotate(folder.path(), passphrase).unwrap();
        assert!(!draft.exists() && fs::read(&link).unwrap().iter().all(|byte| *byte == 0));
        fs::remove_file(&link).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "no draft is left");
        if passphrase.is_some() {
            assert!(matches!(refused(folder.path(), None).0, OpenError::PassphraseNeeded(_)));
        }
        // The old root is in the file no more, in whatever form: it had it in the clear.
        retire(folder.path(), passphrase).unwrap();
        let after = fs::read(&path).unwrap();
        let root = &before[11..43];
        assert!(passphrase.is_some() || !after.windows(32).any(|part| part == root));
        open(folder.path(), passphrase).unwrap();
    }
}

#[test]
fn a_file_without_rotations_stays_readable_for_older_versions() {
    let folder = tempfile::tempdir().unwrap();
    create(folder.path(), None).unwrap();
    assert_eq!(fs::read(folder.path().join(FILE)).unwrap()[8..10], [0, 1]);
    rotate(folder.path(), None).unwrap();
    assert_eq!(fs::read(folder.path().join(FILE)).unwrap()[8..10], [0, 2]);
}
