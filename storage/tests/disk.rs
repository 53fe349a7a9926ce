//! The simulated disk keeps to the rules of POSIX file systems: what was synced is there after a power cut, what
//! was not may be gone in part; and both disks answer programs alike.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    collections::BTreeSet,
    io::ErrorKind,
    path::{Path, PathBuf},
    sync::Arc,
};

use helenus_storage::disk::{Damage, Disk, DiskFile, Fault, OsDisk, Repeat, SimulatedDisk};

fn at(name: &str) -> PathBuf {
    Path::new("/d").join(name)
}

fn simulated() -> SimulatedDisk {
    let disk = SimulatedDisk::default();
    disk.create_dir_all(Path::new("/d")).unwrap();
    disk
}

fn durable_file(disk: &SimulatedDisk, name: &str, bytes: &[u8]) -> Arc<dyn DiskFile> {
    let file = disk.create(&at(name)).unwrap();
    file.write_all_at(bytes, 0).unwrap();
    file.sync_all().unwrap();
    disk.sync_dir(Path::new("/d")).unwrap();
    file
}

/// What can be in a file after power cuts of this kind.
fn outcomes(disk: &SimulatedDisk, damage: Damage, name: &str) -> BTreeSet<Option<Vec<u8>>> {
    (0..200).map(|seed| disk.crash(seed, damage).contents(&at(name))).collect()
}

#[test]
fn both_disks_answer_a_program_alike() {
    let temporary = tempfile::tempdir().unwrap();
    let disks: [(&dyn Disk, PathBuf); 2] =
        [(&OsDisk, temporary.path().join("x/y")), (&SimulatedDisk::default(), PathBuf::from("/x/y"))];
    for (disk, directory) in disks {
        let (a, b) = (directory.join("a"), directory.join("b"));
        let kind = |outcome: std::io::Result<()>| outcome.unwrap_err().kind();
        assert_eq!(kind(disk.create(&a).map(drop)), ErrorKind::NotFound);
        assert_eq!(kind(disk.list(&directory).map(drop)), ErrorKind::NotFound);
        disk.create_dir_all(&directory).unwrap();
        disk.create_dir_all(&directory).unwrap();

        let file = disk.create(&a).unwrap();
        assert_eq!(kind(disk.create(&a).map(drop)), ErrorKind::AlreadyExists);
        assert!(file.is_empty().unwrap());
        file.allocate(100).unwrap();
        assert_eq!(file.len().unwrap(), 100);
        file.write_all_at(b"hello", 98).unwrap();
        assert_eq!(file.len().unwrap(), 103);
        file.allocate(50).unwrap();
        assert_eq!(file.len().unwrap(), 103, "allocation never shortens");
        let mut buffer = [1; 7];
        file.read_exact_at(&mut buffer, 96).unwrap();
        assert_eq!(&buffer, b"\0\0hello");
        assert_eq!(kind(file.read_exact_at(&mut buffer, 97)), ErrorKind::UnexpectedEof);
        file.sync_data().unwrap();
        file.sync_all().unwrap();

        disk.create(&b).unwrap();
        assert_eq!(disk.list(&directory).unwrap(), ["a", "b"]);
        disk.rename(&a, &b).unwrap();
        assert_eq!(disk.list(&directory).unwrap(), ["b"]);
        assert_eq!(kind(disk.rename(&a, &b)), ErrorKind::NotFound);
        assert_eq!(kind(disk.open(&a).map(drop)), ErrorKind::NotFound);
        assert_eq!(disk.open(&b).unwrap().len().unwrap(), 103);
        disk.sync_dir(&directory).unwrap();

        let map = disk.map(&b, 100).unwrap();
        assert_eq!(&map[97..], b"\0he");
        assert!(disk.map(&b, 0).unwrap().is_empty());
        assert_eq!(kind(disk.map(&b, 104).map(drop)), ErrorKind::UnexpectedEof);
        disk.remove(&b).unwrap();
        assert_eq!(kind(disk.remove(&b)), ErrorKind::NotFound);
        assert_eq!(&map[97..], b"\0he", "maps outlive the name");
        file.read_exact_at(&mut buffer, 96).unwrap();

        let lock = directory.join("LOCK");
        let held = disk.lock(&lock).unwrap().expect("nobody has it");
        assert_eq!(held.path(), lock);
        assert!(disk.lock(&lock).unwrap().is_none());
        drop(held);
        assert!(disk.lock(&lock).unwrap().is_some());
        assert_eq!(disk.list(&directory).unwrap(), ["LOCK"]);
    }
}

#[test]
fn what_was_synced_survives_every_power_cut() {
    let disk = simulated();
    let file = durable_file(&disk, "f", b"durable");
    file.write_all_at(b"pending", 7).unwrap();
    for damage in Damage::ALL {
        for outcome in outcomes(&disk, damage, "f") {
            assert_eq!(&outcome.expect("the name was synced")[..7], b"durable", "{damage:?}");
        }
    }
}

#[test]
fn an_unsynced_write_is_kept_lost_or_torn() {
    let disk = simulated();
    let file = durable_file(&disk, "f", b"");
    file.write_all_at(&[7; 2000], 0).unwrap();
    assert_eq!(outcomes(&disk, Damage::Forgotten, "f"), [Some(vec![])].into());
    assert_eq!(outcomes(&disk, Damage::ProcessOnly, "f"), [Some(vec![7; 2000])].into());
    assert_eq!(outcomes(&disk, Damage::LengthOnly, "f"), [Some(vec![0; 2000])].into());
    let torn = outcomes(&disk, Damage::TornLastWrite, "f");
    assert!(torn.contains(&Some(vec![7; 512])) && torn.contains(&Some(vec![7; 2000])), "whole sectors");
    assert!(torn.iter().flatten().any(|bytes| bytes.len() % 512 != 0 && bytes.len() < 2000), "any byte");
    assert!(torn.iter().flatten().all(|bytes| bytes.iter().all(|byte| *byte == 7)));
    let holes = |bytes: &Vec<u8>| bytes.first() == Some(&0) && bytes.last() == Some(&7);
    assert!(outcomes(&disk, Damage::Subset, "f").iter().flatten().any(holes), "later pieces without earlier");
    let full = |bytes: &Vec<u8>| bytes.len() == 2000;
    assert!(outcomes(&disk, Damage::ZeroTail, "f").iter().flatten().all(full));
    let garbage = |bytes: &Vec<u8>| bytes.iter().any(|byte| ![0, 7].contains(byte));
    assert!(outcomes(&disk, Damage::GarbageTail, "f").iter().flatten().any(garbage));
}

#[test]
fn a_stale_tail_shows_bytes_of_other_files() {
    let disk = simulated();
    durable_file(&disk, "old", &[9; 2000]);
    let file = durable_file(&disk, "f", b"");
    file.write_all_at(&[7; 2000], 0).unwrap();
    let stale = |bytes: &Vec<u8>| bytes.contains(&9);
    assert!(outcomes(&disk, Damage::StaleTail, "f").iter().flatten().any(stale));
}

#[test]
fn fsync_of_a_file_does_not_make_its_name_durable() {
    let disk = simulated();
    let file = disk.create(&at("f")).unwrap();
    file.write_all_at(b"bytes", 0).unwrap();
    file.sync_all().unwrap();
    assert_eq!(outcomes(&disk, Damage::NamesLost, "f"), [None].into());
    disk.sync_dir(Path::new("/d")).unwrap();
    assert_eq!(outcomes(&disk, Damage::NamesLost, "f"), [Some(b"bytes".to_vec())].into());
}

#[test]
fn a_name_can_be_durable_before_the_bytes_behind_it() {
    let disk = simulated();
    disk.create(&at("tmp")).unwrap().write_all_at(b"bytes", 0).unwrap();
    disk.rename(&at("tmp"), &at("f")).unwrap();
    disk.sync_dir(Path::new("/d")).unwrap();
    assert_eq!(outcomes(&disk, Damage::Forgotten, "f"), [Some(vec![])].into());
}

#[test]
fn unsynced_renames_are_kept_lost_or_halved() {
    let disk = simulated();
    durable_file(&disk, "tmp", b"new");
    durable_file(&disk, "f", b"old");
    disk.rename(&at("tmp"), &at("f")).unwrap();
    let names = |damage, seed| {
        let image = disk.crash(seed, damage);
        (image.contents(&at("tmp")).is_some(), image.contents(&at("f")).unwrap() == b"new")
    };
    assert_eq!(names(Damage::NamesLost, 1), (true, false));
    assert_eq!(names(Damage::NamesOnly, 1), (false, true));
    assert_eq!(names(Damage::BothNames, 1), (true, true));
    let subset: BTreeSet<_> = (0..50).map(|seed| names(Damage::Subset, seed)).collect();
    assert_eq!(subset, [(true, false), (false, true)].into());
}

#[test]
fn an_unsynced_removal_can_come_undone() {
    let disk = simulated();
    durable_file(&disk, "f", b"bytes");
    disk.remove(&at("f")).unwrap();
    assert_eq!(outcomes(&disk, Damage::Subset, "f"), [None, Some(b"bytes".to_vec())].into());
    disk.sync_dir(Path::new("/d")).unwrap();
    assert_eq!(outcomes(&disk, Damage::Subset, "f"), [None].into());
}

#[test]
fn sync_data_covers_bytes_and_their_reach_but_no_reserve() {
    let disk = simulated();
    let file = durable_file(&disk, "f", b"");
    file.allocate(100).unwrap();
    file.write_all_at(b"x", 9).unwrap();
    file.sync_data().unwrap();
    assert_eq!(disk.crash(0, Damage::Forgotten).contents(&at("f")).unwrap().len(), 10);
    file.sync_all().unwrap();
    assert_eq!(disk.crash(0, Damage::Forgotten).contents(&at("f")).unwrap().len(), 100);
}

#[test]
fn a_prefix_keeps_the_order_across_files() {
    let disk = simulated();
    let (a, b) = (durable_file(&disk, "a", b""), durable_file(&disk, "b", b""));
    for round in 0..20 {
        a.write_all_at(&[1], round).unwrap();
        b.write_all_at(&[1], round).unwrap();
    }
    let mut lengths = BTreeSet::new();
    for seed in 0..200 {
        let image = disk.crash(seed, Damage::Prefix);
        let length = |name| image.contents(&at(name)).unwrap().len();
        assert!(length("a") == length("b") || length("a") == length("b") + 1, "seed {seed}");
        lengths.insert(length("b"));
    }
    assert!(lengths.len() > 10, "cuts at many places: {lengths:?}");
}

#[test]
fn the_power_goes_in_the_middle_of_an_operation_and_nothing_works_after_it() {
    let disk = simulated();
    let file = durable_file(&disk, "f", b"");
    let lock = disk.lock(&at("LOCK")).unwrap().expect("nobody has it");
    disk.crash_at(disk.operations() + 2);
    file.write_all_at(b"a", 0).unwrap();
    assert!(file.write_all_at(b"b", 1).is_err());
    assert!(disk.is_off());
    assert!(file.len().is_err() && file.sync_all().is_err() && disk.list(Path::new("/d")).is_err());
    assert!(disk.open(&at("f")).is_err() && disk.map(&at("f"), 0).is_err() && disk.lock(&at("L2")).is_err());
    // The write that was under way may have arrived.
    assert!(outcomes(&disk, Damage::ProcessOnly, "f").contains(&Some(b"ab".to_vec())));

    disk.restart(0, Damage::Forgotten);
    assert_eq!((disk.operations(), disk.reads(), disk.is_off()), (0, 0, false));
    assert!(file.write_all_at(b"c", 0).is_err() && file.len().is_err(), "handles of before are dead");
    assert_eq!(disk.contents(&at("f")).unwrap(), b"");
    let held = disk.lock(&at("LOCK")).unwrap().expect("the power cut released it");
    drop(lock);
    assert!(disk.lock(&at("LOCK")).unwrap().is_none(), "the old guard does not release the new lock");
    drop(held);
}

#[test]
fn a_dead_process_leaves_its_unsynced_writes_to_a_later_power_cut() {
    let disk = simulated();
    disk.create(&at("f")).unwrap().write_all_at(b"bytes", 0).unwrap();
    let image = disk.crash(0, Damage::ProcessOnly);
    assert_eq!(image.contents(&at("f")).unwrap(), b"bytes");
    assert_eq!(image.crash(0, Damage::Forgotten).contents(&at("f")), None);
    image.sync_dir(Path::new("/d")).unwrap();
    assert_eq!(image.crash(0, Damage::Forgotten).contents(&at("f")).unwrap(), b"");
    image.open(&at("f")).unwrap().sync_all().unwrap();
    assert_eq!(image.crash(0, Damage::Forgotten).contents(&at("f")).unwrap(), b"bytes");
}

#[test]
fn after_a_failed_sync_the_next_one_succeeds_and_means_nothing() {
    let survivors: BTreeSet<_> = (0..40)
        .map(|seed| {
            let disk = SimulatedDisk::new(seed);
            disk.create_dir_all(Path::new("/d")).unwrap();
            let file = durable_file(&disk, "f", b"");
            file.write_all_at(b"a", 0).unwrap();
            file.write_all_at(b"b", 1).unwrap();
            disk.fail_at(disk.operations() + 1, Fault::Sync, Repeat::Once);
            assert!(file.sync_data().is_err());
            file.sync_data().unwrap();
            assert_eq!(disk.contents(&at("f")).unwrap(), b"ab", "the cache still shows it");
            disk.crash(0, Damage::Forgotten).contents(&at("f")).unwrap()
        })
        .collect();
    assert_eq!(survivors, [b"".to_vec(), b"a".to_vec(), b"ab".to_vec(), b"\0b".to_vec()].into());
}

#[test]
fn faults_strike_what_they_can_hit_once_or_for_ever() {
    let disk = simulated();
    let file = durable_file(&disk, "f", b"0123456789");
    disk.fail_at(disk.operations() + 1, Fault::NoSpace, Repeat::Forever);
    file.write_all_at(b"x", 0).expect("no space needed");
    file.sync_all().expect("no space needed");
    for outcome in [file.write_all_at(b"yz", 9), file.allocate(100), disk.create(&at("g")).map(drop)] {
        assert_eq!(outcome.unwrap_err().kind(), ErrorKind::StorageFull);
    }
    disk.fail_at(disk.operations() + 1, Fault::Io, Repeat::Once);
    assert!(disk.rename(&at("f"), &at("g")).is_err());
    assert!(disk.contents(&at("f")).is_some());
    disk.rename(&at("f"), &at("g")).unwrap();
    disk.fail_at(disk.reads() + 2, Fault::Read, Repeat::Once);
    let mut byte = [0];
    file.read_exact_at(&mut byte, 0).unwrap();
    assert!(file.read_exact_at(&mut byte, 0).is_err());
    assert_eq!(disk.map(&at("g"), 1).unwrap()[0], b'x');
}

#[test]
fn the_same_seed_gives_the_same_damage() {
    let disk = simulated();
    for number in 0..5 {
        let file = disk.create(&at(&format!("f{number}"))).unwrap();
        file.write_all_at(&[number; 3000], 0).unwrap();
    }
    let image = |seed, damage| {
        let image = disk.crash(seed, damage);
        image.files().iter().map(|path| (path.clone(), image.contents(path))).collect::<Vec<_>>()
    };
    for damage in Damage::ALL {
        assert_eq!(image(5, damage), image(5, damage), "{damage:?}");
    }
    assert_ne!(image(5, Damage::Subset), image(6, Damage::Subset));
}
