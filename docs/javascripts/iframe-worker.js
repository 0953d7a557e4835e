// Search for pages that are opened as files: a browser starts no worker there, so that the search runs in a hidden frame instead.
// The file's name has to keep "iframe-worker" in it: then mkdocs-material does not add a script of that name from another server.
class FrameWorker extends EventTarget {
  constructor(address) {
    super();
    const frame = document.createElement("iframe");
    frame.hidden = true;
    this.ready = new Promise((started) => {
      frame.onload = () => {
        frame.onload = null;
        const inside = frame.contentWindow;
        const load = (source) =>
          new Promise((done, failed) => {
            const script = inside.document.createElement("script");
            script.src = source;
            script.onload = done;
            script.onerror = failed;
            inside.document.body.append(script);
          });
        inside.postMessage = (data) => this.dispatchEvent(new MessageEvent("message", { data }));
        inside.importScripts = (...sources) => sources.reduce((before, source) => before.then(() => load(source)), Promise.resolve());
        load(new URL(address, location.href).href).then(() => started(inside));
      };
    });
    document.body.append(frame);
  }

  postMessage(data) {
    this.ready.then((inside) => inside.dispatchEvent(new inside.MessageEvent("message", { data })));
  }
}

if (location.protocol === "file:") window.Worker = FrameWorker;
