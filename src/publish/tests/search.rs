//! What can be searched stays while a page that names it may be open.

use super::*;

/// The texts that are there, and those that the list names.
fn texts(store: &MemStore) -> (Vec<String>, Vec<String>) {
    let all = store.snapshot();
    let name = |key: &Key| key.as_str().strip_prefix("khoa/").filter(|n| n.starts_with("search-")).map(str::to_string);
    let list: serde_json::Value = serde_json::from_slice(&all[&Key::new("khoa/search.json").unwrap()].0).unwrap();
    let mut named: Vec<String> = list["lectures"].as_array().unwrap().iter().map(|row| row[2].as_str().unwrap().into()).collect();
    named.sort();
    (all.keys().filter_map(name).collect(), named)
}

#[tokio::test]
async fn a_page_that_is_open_while_its_words_change_can_be_searched() {
    let (studio, store) = (Studio::new(), MemStore::default());
    studio.publish(&store).await.unwrap();
    let (there, first) = texts(&store);
    assert_eq!((there.len(), &there), (2, &first), "one for each lecture");
    studio.write("b1.mts", "B1 anew");
    studio.publish(&store).await.unwrap();
    let (there, second) = texts(&store);
    assert!(second != first && first.iter().chain(&second).all(|name| there.contains(name)), "{there:?}");
    // A publish that changes nothing, and repair, find them right.
    studio.publish(&store).await.unwrap();
    assert_eq!(verify_store(&store, false, &Ctx::silent()).await.unwrap().faults, []);
    studio.write("b1.mts", "B1 again");
    studio.publish(&store).await.unwrap();
    let (there, third) = texts(&store);
    let left: Vec<&String> = first.iter().filter(|name| !third.contains(name)).collect();
    assert!(!left.is_empty() && left.iter().all(|name| !there.contains(name)), "nobody has the first release open");
    // Pages of the release that learners are taken back from are open, too.
    rollback(&store, "khoa", Some(1), &Ctx::silent()).await.unwrap();
    let (there, now) = texts(&store);
    assert!(now == first && third.iter().all(|name| there.contains(name)), "{there:?}");
}

#[tokio::test]
async fn the_words_of_a_withdrawn_lecture_go_at_once() {
    let (studio, store) = (Studio::new(), MemStore::default());
    studio.publish(&store).await.unwrap();
    studio.write("b1.mts", "B1 anew");
    studio.publish(&store).await.unwrap();
    assert_eq!(texts(&store).0.len(), 3);
    withdraw(&store, "khoa", "b", &Ctx::silent()).await.unwrap();
    let (there, named) = texts(&store);
    assert_eq!((there.len(), there), (1, named));
}
