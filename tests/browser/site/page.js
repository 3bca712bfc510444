// Shows the SHA-256 of the large file as this page received it.

const response = await fetch("random.bin");
const digest = await crypto.subtle.digest("SHA-256", await response.arrayBuffer());
const bytes = [...new Uint8Array(digest)];
document.querySelector("#digest").textContent = bytes
  .map((byte) => byte.toString(16).padStart(2, "0"))
  .join("");

await Promise.all([...document.images].map((image) => image.decode()));
document.documentElement.dataset.state = "done";
