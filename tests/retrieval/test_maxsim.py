import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from clir_cli.retrieval import maxsim as module
from clir_cli.retrieval.encoder import Packed
from clir_cli.retrieval.maxsim import maxsim, top_documents


def packed(lengths: list[int], dimensions: int, seed: int) -> Packed:
    chance = torch.Generator().manual_seed(seed)
    vectors = torch.randn(sum(lengths), dimensions, generator=chance)
    offsets = torch.tensor([0, *torch.tensor(lengths).cumsum(0).tolist()])
    return Packed(vectors, offsets)


@settings(derandomize=True, deadline=None)
@given(
    st.lists(st.integers(1, 9), min_size=1, max_size=20),
    st.integers(1, 6),
    st.integers(1, 400),
    st.integers(0, 5),
)
def test_it_is_the_sum_of_the_best_similarity_of_each_query_token(lengths, tokens, cells, seed):
    documents = packed(lengths, 8, seed)
    query = torch.randn(tokens, 8, generator=torch.Generator().manual_seed(seed + 1))
    expected = torch.stack(
        [(query @ documents[number].T).max(dim=1).values.sum() for number in range(len(lengths))]
    )
    before = module.BLOCK_CELLS
    module.BLOCK_CELLS = cells  # however the documents fall into blocks
    try:
        torch.testing.assert_close(maxsim(query, documents), expected, atol=1e-5, rtol=1e-5)
    finally:
        module.BLOCK_CELLS = before


def test_all_negative_similarities_are_not_hidden_by_padding():
    query = torch.tensor([[1.0, 0.0]])
    documents = Packed(
        torch.tensor([[-1.0, 0.0], [-0.5, 0.5], [-0.9, 0.1]]), torch.tensor([0, 1, 3])
    )
    torch.testing.assert_close(maxsim(query, documents), torch.tensor([-1.0, -0.5]))


def test_ties_are_ordered_as_trec_eval_does_and_the_cut_is_exact():
    scores = torch.tensor([0.5, 0.9, 0.5, 0.5, 0.1])
    names = ["d", "b", "a", "c", "e"]
    assert top_documents(scores, names, 3) == [
        ("b", scores[1].item()), ("d", 0.5), ("c", 0.5),
    ]  # fmt: skip
    assert len(top_documents(scores, names, 100)) == 5
