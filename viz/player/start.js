// The page of one graph.

present(GRAPH, {}, Number(fromAddress().step));
addEventListener("hashchange", () => go(Number(fromAddress().step)));
