//! What the manifests of all files mean together: which version of each holds. Pure.

use std::{collections::BTreeMap, fmt::Write as _, sync::Arc};

use super::{
    manifest::Item,
    report::{Kind, Place, Problem, Reason},
    scan::Unseen,
};
use crate::crd::StatePath;
use crate::registry::ResourceName;

/// A manifest that holds.
#[derive(Debug)]
pub(super) struct Good<T> {
    pub(super) place: Place,
    pub(super) content: Arc<T>,
}

impl<T> Clone for Good<T> {
    fn clone(&self) -> Self {
        Self { place: self.place.clone(), content: self.content.clone() }
    }
}

/// Manifests by name.
pub(super) type Goods<T> = BTreeMap<ResourceName, Good<T>>;

/// The manifests that hold now. One that is wrong, or stands twice, changes nothing: what held before holds on. So does
/// what stood where nothing could be read this time. `check`: what else is wrong with a new version.
pub(super) fn resolve<'a, T: 'a>(
    kind: Kind,
    found: impl Iterator<Item = &'a Item<T>>,
    before: &Goods<T>,
    unseen: &Unseen,
    check: impl Fn(&Item<T>, &Arc<T>) -> Vec<Problem>,
    problems: &mut Vec<Problem>,
) -> Goods<T> {
    let mut by_name: BTreeMap<&ResourceName, Vec<&Item<T>>> = BTreeMap::new();
    for item in found {
        by_name.entry(&item.name).or_default().push(item);
    }
    let mut goods = Goods::new();
    for (name, good) in before {
        if !by_name.contains_key(name) && unseen.covers(&good.place.file) {
            goods.insert(name.clone(), good.clone());
        }
    }
    for (name, items) in by_name {
        let wrong = match items.as_slice() {
            [item] => {
                let checked = item.content.as_ref().map_err(Clone::clone).and_then(|content| {
                    let wrong = check(item, content);
                    if wrong.is_empty() { Ok(content) } else { Err(wrong) }
                });
                match checked {
                    Ok(content) => {
                        goods.insert(name.clone(), Good { place: item.place.clone(), content: content.clone() });
                        continue;
                    }
                    Err(wrong) => wrong,
                }
            }
            several => vec![duplicate(kind, name, several)],
        };
        let kept = before.get(name);
        problems.extend(wrong.into_iter().map(|mut problem| {
            if let Some(good) = kept {
                let _ = write!(problem.message, "; until then its last good version ({}) stays in use", good.place);
            }
            problem
        }));
        if let Some(good) = kept {
            goods.insert(name.clone(), good.clone());
        }
    }
    goods
}

fn duplicate<T>(kind: Kind, name: &ResourceName, items: &[&Item<T>]) -> Problem {
    let places: Vec<String> = items.iter().map(|item| item.place.to_string()).collect();
    let message =
        format!("it stands {} times, and none of them counts: {}; remove all but one", items.len(), places.join("; "));
    let problem = Problem::error(Reason::Duplicate, message).of(kind, name);
    items.first().map_or_else(|| problem.clone(), |first| problem.clone().at(&first.place))
}

/// How good a resource's reason is to have its path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Standing {
    /// It is served there.
    Served,
    /// This process knows it there.
    Open,
    /// It was served there by an earlier process.
    Recorded,
    /// None yet.
    New,
}

/// The resources that want each path, the one first that it goes to unless the store knows another owner: a folder has no
/// ages, so names decide between new ones.
pub(super) fn by_path(
    wanted: impl Iterator<Item = (StatePath, Standing, ResourceName)>,
) -> BTreeMap<StatePath, Vec<ResourceName>> {
    let mut paths: BTreeMap<StatePath, Vec<(Standing, ResourceName)>> = BTreeMap::new();
    for (path, standing, name) in wanted {
        paths.entry(path).or_default().push((standing, name));
    }
    let sorted = paths.into_iter().map(|(path, mut wanted)| {
        wanted.sort();
        (path, wanted.into_iter().map(|(_, name)| name).collect())
    });
    sorted.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item(name: &str, file: &str, content: Result<u32, &str>) -> Item<u32> {
        let place = Place::file(file.as_ref());
        let content = content.map(Arc::new).map_err(|said| vec![Problem::error(Reason::InvalidSpec, said).at(&place)]);
        Item { place, name: named(name), content }
    }

    fn named(name: &str) -> ResourceName {
        ResourceName { namespace: "n".to_owned(), name: name.to_owned() }
    }

    fn run(items: &[Item<u32>], before: &Goods<u32>, unseen: &Unseen) -> (Goods<u32>, Vec<Problem>) {
        let mut problems = Vec::new();
        let check = |item: &Item<u32>, content: &Arc<u32>| {
            if **content == 13 { vec![Problem::error(Reason::InvalidSpec, "13").at(&item.place)] } else { vec![] }
        };
        let goods = resolve(Kind::Secret, items.iter(), before, unseen, check, &mut problems);
        (goods, problems)
    }

    fn values(goods: &Goods<u32>) -> Vec<(&str, u32)> {
        goods.iter().map(|(name, good)| (name.name.as_str(), *good.content)).collect()
    }

    #[test]
    fn a_wrong_one_keeps_what_held() {
        let seen = Unseen::default();
        let (first, problems) =
            run(&[item("a", "1", Ok(1)), item("b", "2", Ok(2)), item("c", "3", Err("bad"))], &Goods::new(), &seen);
        assert_eq!(values(&first), [("a", 1), ("b", 2)]);
        assert!(problems.len() == 1 && !problems[0].message.contains("last good"), "{problems:?}");
        let (second, problems) = run(&[item("a", "1", Err("bad")), item("b", "2", Ok(13))], &first, &seen);
        assert_eq!(values(&second), [("a", 1), ("b", 2)]);
        assert!(problems.iter().all(|problem| problem.message.contains("last good version")), "{problems:?}");
        let (third, problems) = run(&[item("b", "2", Ok(4))], &second, &seen);
        assert_eq!((values(&third), problems), (vec![("b", 4)], vec![]));
    }

    #[test]
    fn of_several_none_counts() {
        let seen = Unseen::default();
        let twice = [item("a", "2", Ok(1)), item("a", "1", Ok(1))];
        let (goods, problems) = run(&twice, &Goods::new(), &seen);
        assert!(goods.is_empty());
        assert_eq!((problems.len(), problems[0].reason), (1, Reason::Duplicate));
        assert!(problems[0].message.contains("2; 1"), "{problems:?}");
        let (before, _) = run(&[item("a", "3", Ok(7))], &Goods::new(), &seen);
        let (goods, problems) = run(&twice, &before, &seen);
        assert_eq!(values(&goods), [("a", 7)]);
        assert!(problems[0].message.contains("last good version (3)"), "{problems:?}");
    }

    #[test]
    fn what_could_not_be_seen_is_not_taken_for_removed() {
        let (before, _) = run(
            &[item("a", "x/1", Ok(1)), item("b", "x/2", Ok(2)), item("c", "y", Ok(3))],
            &Goods::new(),
            &Unseen::default(),
        );
        let under = |path: &str| Unseen { all: false, under: vec![path.into()] };
        assert_eq!(values(&run(&[], &before, &under("x/1")).0), [("a", 1)]);
        assert_eq!(values(&run(&[], &before, &under("x")).0), [("a", 1), ("b", 2)]);
        let moved = [item("a", "y", Ok(9))];
        assert_eq!(values(&run(&moved, &before, &under("x")).0), [("a", 9), ("b", 2)], "it moved");
        let all = Unseen { all: true, under: vec![] };
        assert_eq!(values(&run(&[], &before, &all).0).len(), 3);
    }

    #[test]
    fn the_standing_decides_then_the_name() {
        let path = |text: &str| StatePath::parse(text).unwrap();
        let wanted = [
            (path("p"), Standing::New, named("a")),
            (path("p"), Standing::Recorded, named("c")),
            (path("p"), Standing::Served, named("d")),
            (path("p"), Standing::Recorded, named("b")),
            (path("q"), Standing::New, named("f")),
            (path("q"), Standing::New, named("e")),
        ];
        let paths = by_path(wanted.into_iter());
        let names: Vec<Vec<&str>> =
            paths.values().map(|names| names.iter().map(|name| name.name.as_str()).collect()).collect();
        assert_eq!(names, [vec!["d", "b", "c", "a"], vec!["e", "f"]]);
    }
}
