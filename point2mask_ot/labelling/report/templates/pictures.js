/** All pictures of a report, a page of them at a time, in the order that the reader asks for. Works without a server. */
(() => {
  const PAGE = 100;
  const $ = (id) => document.getElementById(id);
  const names = new Intl.Collator(undefined, { numeric: true });
  const read = ([name, confidence, targets, segments, blank, seconds, pq, miou, state, labels, truth]) =>
    confidence === undefined
      ? { name }
      : { name, confidence, targets, segments, blank, seconds, pq, miou, state, labels, truth };
  const rows = JSON.parse($("pictures").textContent).map((row) =>
    row.length === 2 ? { name: row[0], reason: row[1] } : read(row),
  );

  // ---- What the reader asks for stands in the address, so that going back and loading again keep it -------------------
  const by = (key, sign) => (a, b) => sign * ((a[key] ?? Infinity) - (b[key] ?? Infinity));
  const orders = {
    doubt: ["most doubtful first", by("confidence", 1)],
    certain: ["most certain first", by("confidence", -1)],
    name: ["by name", () => 0],
    targets: ["most targets first", by("targets", -1)],
    void: ["most void first", by("blank", -1)],
    time: ["slowest first", by("seconds", -1)],
    pq: ["lowest PQ first", by("pq", 1)],
  };
  const kinds = {
    labelled: ["labelled", (row) => row.reason === undefined],
    open: ["labelled, not marked as done", (row) => row.reason === undefined && row.state !== "done"],
    aside: ["set aside", (row) => row.reason !== undefined],
  };
  if (!rows.some((row) => row.pq !== null && row.pq !== undefined)) delete orders.pq;
  if (!rows.some((row) => row.state === "done")) delete kinds.open;
  const fill = (select, choices) =>
    select.replaceChildren(
      ...Object.entries(choices).map(([value, [words, test]]) => {
        const counted = select.id === "show" ? ` (${rows.filter(test).length.toLocaleString("en")})` : "";
        return Object.assign(document.createElement("option"), { value, textContent: words + counted });
      }),
    );
  const asked = () => {
    const told = new URLSearchParams(location.hash.slice(1));
    const order = told.get("order") in orders ? told.get("order") : "doubt";
    const show = told.get("show") in kinds ? told.get("show") : "labelled";
    return { order, show, find: told.get("find") ?? "", page: Math.max(1, Number.parseInt(told.get("page"), 10) || 1) };
  };
  function ask(changes) {
    const values = { ...asked(), page: 1, ...changes };
    history.replaceState(null, "", `#${new URLSearchParams(values)}`);
    render();
    if ("page" in changes) $("figures").scrollIntoView();
  }

  /** Without case, and an accent is the same letter in both its spellings. */
  const folded = (text) => text.normalize("NFC").toLowerCase();
  let found = { key: null, rows: [] };
  /** The rows that are asked for, in their order; kept while one leafs through them. */
  function listed({ order, show, find }) {
    const key = JSON.stringify([order, show, find]);
    if (found.key === key) return found.rows;
    const whole = folded(find);
    const words = whole.split(/\s+/);
    const fits = (row) => words.every((word) => folded(`${row.name} ${row.reason ?? ""}`).includes(word));
    const exact = (row) => folded(row.name) === whole;
    const compare = orders[order][1];
    const fitting = rows.filter((row) => kinds[show][1](row) && fits(row));
    fitting.sort((a, b) => compare(a, b) || names.compare(a.name, b.name));
    found = { key, rows: [...fitting.filter(exact), ...fitting.filter((row) => !exact(row))] };
    return found.rows;
  }

  // ---- What is shown -------------------------------------------------------------------------------------------------
  function render() {
    const now = asked();
    const all = listed(now);
    const pages = Math.max(1, Math.ceil(all.length / PAGE));
    const page = Math.min(now.page, pages);
    const first = (page - 1) * PAGE;
    $("figures").replaceChildren(...all.slice(first, first + PAGE).map(card));
    const last = Math.min(first + PAGE, all.length).toLocaleString("en");
    $("count").textContent = all.length
      ? `${(first + 1).toLocaleString("en")} to ${last} of ${all.length.toLocaleString("en")}`
      : "No picture";
    [$("previous").disabled, $("next").disabled] = [page === 1, page === pages];
    [$("previous").value, $("next").value] = [page - 1, page + 1];
    [$("order").value, $("show").value] = [now.order, now.show];
    if ($("find").value.trim() !== now.find) $("find").value = now.find;
  }

  function element(tag, properties = {}, ...inside) {
    const made = Object.assign(document.createElement(tag), properties);
    made.append(...inside);
    return made;
  }

  function card(row) {
    const figure = element("figure");
    if (row.reason !== undefined) {
      figure.append(element("div", { className: "aside" }, element("b", {}, row.name), element("br"), row.reason));
      return figure;
    }
    if (row.labels) {
      const panels = element("div", { className: "panels" });
      const image = (src, what) => element("img", { src, alt: `${what} of ${row.name}`, loading: "lazy" });
      panels.append(image(row.labels, "points and pseudo-masks"));
      if (row.truth) panels.append(image(row.truth, "truth"));
      figure.append(panels);
    }
    const share = (value) => (100 * value).toFixed(1);
    const facts = [
      `confidence ${row.confidence.toFixed(3)}`,
      `${row.targets.toLocaleString("en")} targets`,
      `${row.segments.toLocaleString("en")} segments`,
      `void ${share(row.blank)}\u00a0%`,
      `${row.seconds.toFixed(2)} s`,
    ];
    if (row.pq !== null) facts.push(`PQ ${share(row.pq)}`);
    if (row.miou !== null) facts.push(`mIoU ${share(row.miou)}`);
    const caption = element("figcaption", {}, element("b", {}, title(row.name)));
    if (row.state === "done") caption.append(" ", element("span", { className: "badge" }, "done"));
    caption.append(element("br"), facts.map((fact) => fact.replace(" ", "\u00a0")).join(" \u00b7 "));
    figure.append(caption);
    return figure;
  }

  /** The name, which opens its picture in `annotate` once its address is known. */
  function title(name) {
    const page = annotate();
    return page ? element("a", { href: `${page}#${encodeURIComponent(name)}`, target: "annotate" }, name) : name;
  }

  /** Where `annotate` is, out of what was pasted: an address, or the line that it prints. */
  function annotate() {
    const [, host, secret] = /(127\.0\.0\.1:\d+|localhost:\d+)\/([\w-]+)/.exec($("address").value) ?? [];
    return host ? `http://${host}/${secret}/` : "";
  }

  $("address").oninput = () => {
    $("no-address").hidden = !$("address").value.trim() || annotate() !== "";
    render();
  };
  $("open").hidden = !rows.some((row) => row.reason === undefined); // doubtful.txt is empty then
  fill($("order"), orders);
  fill($("show"), kinds);
  $("order").onchange = (event) => ask({ order: event.target.value });
  $("show").onchange = (event) => ask({ show: event.target.value });
  $("find").oninput = (event) => ask({ find: event.target.value.trim() });
  for (const id of ["previous", "next"]) $(id).onclick = () => ask({ page: Number($(id).value) });
  addEventListener("hashchange", render);
  render();
})();
