"""Text by segment ids."""

from ofa_transformers.evaluation import read_held_out, read_segments_by_id


def test_ids_that_occur_twice_and_blank_texts_are_read_one_way(tmp_path):
    """The first text of an id counts, and blank ones are none, for retrieval and for perplexity."""
    (tmp_path / "deu.tsv").write_text("a\teins\nb\t \nc\tdrei\na\tzwei\n\nd\tvier\n", encoding="utf-8")
    (tmp_path / "eng.tsv").write_text("a\tone\nb\ttwo\nc\tthree\nd\tfour\nd\tfive\n", encoding="utf-8")
    (text,) = read_segments_by_id(tmp_path)
    assert text.texts == ["eins", "drei", "vier"] and text.translations == ["one", "three", "four"]
    read, _ = read_held_out([tmp_path / "deu.tsv"], ids=["a", "b", "c"])
    assert read == {"deu": ["eins", "drei"]}
