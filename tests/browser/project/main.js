// Shows what the last of the modules computed. The scenario writes them.

import "./hot.js";
import "./style.css";

const modules = import.meta.glob("./modules/*.js", { eager: true });
const count = Object.keys(modules).length;
const { value } = modules[`./modules/${count}.js`];
document.querySelector("#answer").textContent = `${count} modules make ${value}`;

await Promise.all([...document.images].map((image) => image.decode()));
document.documentElement.dataset.state = "done";
